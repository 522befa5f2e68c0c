// HiPPO matrices as O(N) operators. -A is p (T^{-1} + diag c) p with T tridiagonal for the three
// polynomial measures (quasi-separable: off-diagonal blocks have rank at most 2), and rotations
// plus rank one for Fourier. Products are running sums; solves are, in one pass or two,
//   legs, lagt  A_nk = -p_n p_k (n>k), -d_n (n=k):
//               y_n = (x_n - h p_n S) / (1 + h d_n), S += p_n y_n
//   legt        (T + h p^2) z = p x, y = x - h p z, T = (-1/2, 1/2 at both ends, +1/2) (theta = 1)
//   fout        2 x 2 blocks and the Sherman-Morrison formula
#pragma once
#include <span>
#include <utility>

#include "ssm/hippo.h"

namespace kindred::ssm {

/// Eight signals in vector lanes: the passes below are serial in n.
typedef double Lanes __attribute__((vector_size(64)));
inline constexpr int64_t kLanes = 8;

class HippoOperator {
 public:
  /// As hippo_matrix.
  explicit HippoOperator(Measure measure, int64_t N, double theta = 2);

  Measure measure() const { return measure_; }
  int64_t size() const { return N_; }
  double theta() const { return theta_; }
  DenseSystem dense() const { return hippo_matrix(measure_, N_, theta_); }
  const std::vector<double>& B() const { return B_; }
  /// p and d of the lower triangular measures legs and lagt; p of legt.
  const std::vector<double>& p() const { return p_; }
  const std::vector<double>& d() const { return d_; }

  /// y = A x. x [N], y [N] distinct.
  void apply(std::span<const double> x, std::span<double> y) const;
  /// y = (I - h A)^{-1} x. Usage error unless h >= 0. For many solves with one h: HippoSolver.
  void solve(double h, std::span<const double> x, std::span<double> y) const;

  /// The same for one signal (double) or eight (Lanes).
  template <class T>
  void apply(const T* x, T* y) const;

 private:
  Measure measure_;
  int64_t N_;
  double theta_;
  std::vector<double> B_, p_, d_, w_;  ///< w: angular frequencies of fout
};

/// (I - h A)^{-1} with the factors of one h kept.
class HippoSolver {
 public:
  explicit HippoSolver(HippoOperator op) : op_(std::move(op)) {}
  /// Usage error unless h >= 0: then I - h A is accretive and no pass can break down.
  void set(double h);
  /// y = (I - h A)^{-1} x; x and y distinct.
  void solve(const double* x, double* y) const;
  /// x <- x + gain ((I - h A)^{-1} (x + B input) - x) of eight signals; scratch [N].
  void step(const Lanes& input, double gain, Lanes* x, Lanes* scratch) const;

 private:
  template <class T, class In, class Out>
  void run(T* scratch, In in, Out out) const;

  HippoOperator op_;
  double h_ = -1;
  std::vector<double> a_, b_, c_;  ///< factors, see the passes
  double scale_ = 0;
};

}  // namespace kindred::ssm
