// A DPLR system step by step in O(N): with G = (1 - dt lambda / 2)^-1, the bilinear rule moves the
// state by
//   x_l - x_{l-1} = G dt lambda x + G dt B u - sum_r G dt P_r (s_r + w_r / 2),
//   x = x_{l-1},   u = u_l,   s_r = P_r* x,   t_r = P_r* (G dt lambda x),
//   (1 + kappa / 2) w = t - kappa s + beta u,
//   kappa_rk = P_r* (G dt P_k),   beta_r = P_r* (G dt B)
// (Woodbury), where P* x over all modes is 2 Re(conj(P) x) over the stored ones. As the change is
// computed and not the new state, slow modes keep their digits in single precision.
#pragma once
#include <complex>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::ssm {

/// H channels of M stored modes, in double; P [rank, H, M], all others [H, M]. y = 2 Re(C x).
struct DplrModes {
  int64_t H = 0, M = 0, rank = 1;
  std::vector<std::complex<double>> lambda, P, B, C;
  std::vector<double> dt;
};

class DplrRecurrence {
 public:
  /// Zero state for `batch` sequences, D [H] of the dtype of the steps.
  DplrRecurrence(const DplrModes& modes, const Tensor& D, int64_t batch);
  /// u [B, n, H] -> y [B, n, H]: n further steps. No graph is recorded.
  Tensor advance(const Tensor& u);
  /// The state x in real coordinates (Re x, Im x): [B, H, 2M].
  Tensor state() const;
  void set_state(const Tensor& x);

 private:
  int64_t B_, H_, M_, rank_;
  Tensor modes_;     ///< [tiles, M, 3 + 3 rank, 2, lanes]
  Tensor channels_;  ///< [tiles, 1 + rank + 2 rank^2, lanes]: D, beta, kappa, (1 + kappa/2)^-1
  Tensor state_;     ///< [B, tiles, M, 2, lanes]
};

}  // namespace kindred::ssm
