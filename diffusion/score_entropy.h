// Score entropy of the absorbing process (SEDD, Lou et al. 2024): a network gives the ratios
// s_y = p_t(x with y in place of MASK) / p_t(x), and
//   integral of sigma'(t) E sum over hidden i of [sum_y s_y - omega ln s_{x_i} + omega (ln omega -
//   1)],
// sigma = -ln(1 - t), omega = 1/(e^sigma - 1) = (1 - t)/t, bounds -ln p(x). With s_y = omega
// e^{z_y} / V the bracket is -ln softmax(z)_{x_i} and the excess below, and sigma' omega = 1/t: for
// scores that add up to omega it is the bound of MDLM.
#pragma once
#include "autodiff/tensor.h"

namespace kindred::diffusion {

/// logits z [..., V] -> Z - 1 - ln Z >= 0 [...] with Z = sum_y e^{z_y} / V; 0 where asked [...] is
/// 0, however large Z is there.
Tensor score_entropy_excess(const Tensor& logits, const Tensor& asked);

}  // namespace kindred::diffusion
