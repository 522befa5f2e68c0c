// Convolution kernel of S4 (Gu, Goel and Re 2022): a diagonal plus low-rank state-space system a
// channel, with M stored modes of N = 2M (conjugate pairs), discretised by the bilinear rule:
//   x' = A x + B u,  y = 2 Re(C x),  A = diag(lambda) - P P*,  lambda = -exp(log_neg_re) + i im,
//   K[h, l] = 2 Re(C Ab^l Bb), l = 0..L-1.
// As in S4 the parameter is C~ = C (I - Ab^L), which makes K the inverse Fourier transform of a few
// Cauchy products. They are evaluated without the pole that the textbook form has at z = -1: with
// s_j = sin(pi j / L), c_j = cos(pi j / L), a_n = dt_n lambda_n,
//   q_v(j) = sum_n v_n / (2 i s_j - a_n c_j) + conj(v_n) / (2 i s_j - conj(a_n) c_j)
//   K = irfft_j( (c_j + i s_j) (q_00 - c_j q_01 q_10 / (1 + c_j q_11)) )
//   v_00 = dt C~ B,  v_01 = dt C~ P,  v_10 = dt conj(P) B,  v_11 = dt |P|^2.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// log_neg_re, im [H, M]; P, B, C [2, H, M] (real plane, imaginary plane), C being C~ for this
/// length; log_dt [H], or [H, M] for a step of every mode's own -> [H, length], any length >= 1.
/// Relative to the largest value of a channel the error is 1e-13 in f64 and a few 1e-6 in f32 at
/// any length. O(H M L) time; nothing of the size H M L is ever stored.
Tensor dplr_kernel(const Tensor& log_neg_re, const Tensor& im, const Tensor& P, const Tensor& B,
                   const Tensor& C, const Tensor& log_dt, int64_t length);

/// The same for a term of rank r, A = diag(lambda) - sum_k P_k P_k*, with P [2, r, H, M] (LegT: r =
/// 2), in public ops: channels are taken in groups whose insides are computed again for the
/// derivative, so that memory stays bounded. With r = 1 it is the composite of dplr_kernel.
Tensor dplr_kernel_of_rank(const Tensor& log_neg_re, const Tensor& im, const Tensor& P,
                           const Tensor& B, const Tensor& C, const Tensor& log_dt, int64_t length);

}  // namespace kindred
