// Convolution kernel of a diagonal state-space model (S4D: Gu, Gupta, Goel and Re 2022), one
// single-input single-output system a channel, M stored modes of N = 2M (conjugate pairs):
//   lambda = -exp(log_neg_re) + i im,  dt = exp(log_dt),  a = dt lambda
//   K[h, l] = 2 Re sum_n C_n phi_n A_n^l,   l = 0..L-1
//   zoh:      A = e^a,                 phi = (e^a - 1) / lambda
//   bilinear: A = (1 + a/2)/(1 - a/2), phi = dt / (1 - a/2)
// The input vector B is 1: only the product C B acts, so a model with another B has it inside C.
#pragma once
#include <complex>

#include "autodiff/tensor.h"

namespace kindred {

enum class Discretisation { zoh, bilinear };

/// log_neg_re, im [H, M]; C [2, H, M] (real plane, imaginary plane); log_dt [H], or
/// [H, M] for a step of every mode's own -> [H, length].
/// Powers are made in double whatever the dtype, as phases l dt im reach 1e5 radians; O(H M L).
Tensor s4d_kernel(const Tensor& log_neg_re, const Tensor& im, const Tensor& C, const Tensor& log_dt,
                  int64_t length, Discretisation rule);

/// One mode after discretisation: x_l = A x_{l-1} + phi u_l.
struct DiscreteMode {
  std::complex<double> A, phi;
};
DiscreteMode discretise(std::complex<double> lambda, double dt, Discretisation rule);

}  // namespace kindred
