// S4's diagonal plus low-rank system (Gu, Goel and Re 2022) outside the training step, in double:
//   x' = A x + B u,  y = 2 Re(C x),  A = diag(lambda) - sum_k P_k P_k*,  M = N/2 stored modes,
// after the bilinear rule x_l = Ab x_{l-1} + Bb u_l. The kernel op trains C~ = C (I - Ab^L); here C
// is recovered from it and aimed at another length or step, and the system is brought into the
// forms that run step by step. Everything holds for a step dt of every mode's own, dt then being
// the diagonal matrix in front of A and B.
#pragma once
#include <complex>
#include <cstdint>
#include <vector>

#include "autodiff/tensor.h"
#include "ssm/hippo.h"

namespace kindred::ssm {

/// Parameters of H channels in any floating dtype: log_neg_re, im [H, M]; P [2, H, M] or, for rank
/// r, [2, r, H, M]; B [2, H, M]; log_dt [H] or [H, M].
struct DplrParameters {
  Tensor log_neg_re, im, P, B, log_dt;
  int64_t channels() const { return im.dim(0); }
  int64_t modes() const { return im.dim(1); }
  /// Usage error, with the shapes, unless they fit.
  void validate() const;
};

/// C [2, H, M] from C~ [2, H, M] trained at `length`: C = (I - Ab^length)^{-T} C~. f64.
Tensor recover_output(const DplrParameters& system, const Tensor& C_tilde, int64_t length);
/// The way back, for steps `rate` times as long: C~ = (I - Ab^length)^T C. f64.
Tensor aim_output(const DplrParameters& system, const Tensor& C, int64_t length, double rate = 1);
/// C~ at `length` -> C~ at 2 length: (I + Ab^length)^T C~. f64.
Tensor double_length(const DplrParameters& system, const Tensor& C_tilde, int64_t length);
/// C~ trained at `length` -> C~ of the same C for steps `rate` times as long and another length.
Tensor reaim_output(const DplrParameters& system, const Tensor& C_tilde, int64_t length,
                    double rate, int64_t new_length);

/// One channel.
struct DplrChannel {
  using Complex = std::complex<double>;
  std::vector<double> dt;               ///< [M]
  std::vector<Complex> lambda, B;       ///< [M]
  std::vector<std::vector<Complex>> P;  ///< [r][M]

  /// Channel h, with steps `rate` times as long.
  static DplrChannel of(const DplrParameters& system, int64_t h, double rate = 1);
  std::size_t modes() const { return lambda.size(); }
};

/// z_l = A z_{l-1} + B u_l on the real state z = (Re x, Im x) of N = 2M numbers.
DenseSystem dense_system(const DplrChannel& channel);
/// y = 2 Re(C x) as y = c z: c = 2 (Re C, -Im C), and back.
std::vector<double> real_output(const std::vector<std::complex<double>>& C);
std::vector<std::complex<double>> complex_output(const std::vector<double>& c);

/// The system step by step in O(M r) operations a step. With q_k = conj(P_k), D = 1/(2/dt -
/// lambda), E = 2/dt + lambda (Woodbury's identity in the implicit half of the rule):
///   v = E x - sum_k P_k 2 Re(q_k x) + 2 B u,  w = G^{-1} 2 Re(q D v),  x <- D (v - sum_k P_k w_k),
///   G_kl = [k = l] + 2 Re(q_k D P_l).
class LinearStep {
 public:
  using Complex = std::complex<double>;
  LinearStep(const DplrChannel& channel, std::vector<Complex> C);
  /// Takes u_l, returns y_l.
  double operator()(double u);
  std::vector<Complex> state;  ///< [M], zero at first

  // Constants of a step, for versions of it that run many channels at once.
  const DplrChannel& channel() const { return channel_; }
  const std::vector<Complex>& D() const { return D_; }
  const std::vector<Complex>& E() const { return E_; }
  const std::vector<double>& inverse_G() const { return inverse_; }  ///< [r, r]

 private:
  DplrChannel channel_;
  std::vector<Complex> C_, D_, E_;
  std::vector<double> inverse_;
};

/// Ab in the basis of its eigenvectors: s_l = A s_{l-1} + B u_l elementwise, y = Re(C s). One of
/// each conjugate pair of eigenvalues is kept, real ones as they are, so there are M to N modes.
struct DiagonalSystem {
  using Complex = std::complex<double>;
  std::vector<Complex> A, B, C;
  std::vector<Complex> to_modes;    ///< [modes, N]: s = to_modes z
  std::vector<Complex> from_modes;  ///< [N, modes]: z = Re(from_modes s)
  /// Largest element of V diag(A) V^{-1} - Ab. An initial LegS system of N >= 16 states has no
  /// basis of eigenvectors in double (their condition is beyond 1e10) and shows 1e-6 and more;
  /// after training it is 1e-12. Whoever uses the form checks it. Infinite, without modes, where V
  /// is singular.
  double residual;
};
DiagonalSystem diagonal_system(const DenseSystem& system, const std::vector<double>& c);

}  // namespace kindred::ssm
