#include "ssm/hippo_operator.h"

#include <cmath>
#include <numbers>

#include "autodiff/check.h"

namespace kindred::ssm {

HippoOperator::HippoOperator(Measure measure, int64_t N, double theta)
    : measure_(measure), N_(N), theta_(theta), B_(hippo_matrix(measure, N, theta).B) {
  for (int64_t n = 0; n < N; ++n) {
    const auto i = static_cast<double>(n);
    p_.push_back(measure == Measure::lagt ? 1 : std::sqrt(2 * i + 1));
    d_.push_back(measure == Measure::lagt ? 0.5 : i + 1);
    w_.push_back(2 / theta * std::numbers::pi * static_cast<double>(n / 2));
  }
}

template <class T>
void HippoOperator::apply(const T* __restrict x, T* __restrict y) const {
  const auto N = static_cast<std::size_t>(N_);
  switch (measure_) {
    case Measure::legs:
    case Measure::lagt: {
      T sum = {};
      for (std::size_t n = 0; n < N; ++n) {
        y[n] = -(p_[n] * sum + d_[n] * x[n]);
        sum += p_[n] * x[n];
      }
      return;
    }
    case Measure::legt: {  // sum_{k<=n} p_k x_k, and the alternating sum of the rest from behind
      T sum = {};
      for (std::size_t n = 0; n < N; ++n) {
        sum += p_[n] * x[n];
        y[n] = sum;
      }
      sum = T{};
      for (std::size_t n = N; n-- > 0;) {
        const double scale = -p_[n] / theta_;
        y[n] = scale * (y[n] + sum);
        sum = -(sum + p_[n] * x[n]);
      }
      return;
    }
    case Measure::fout: {
      T sum = {};
      for (std::size_t n = 0; n < N; n += 2) sum += B_[n] * x[n];
      sum *= theta_ / 2;  // B B^T is scaled once, not twice
      for (std::size_t n = 0; n < N; n += 2) {
        y[n] = -(w_[n] * x[n + 1] + B_[n] * sum);
        y[n + 1] = w_[n] * x[n];
      }
      return;
    }
  }
}
template void HippoOperator::apply(const double*, double*) const;
template void HippoOperator::apply(const Lanes*, Lanes*) const;

void HippoOperator::apply(std::span<const double> x, std::span<double> y) const {
  check(x.size() == B_.size() && y.size() == B_.size(), "hippo", "a product of size ", N_, " got ",
        x.size(), " and ", y.size(), " values");
  apply(x.data(), y.data());
}

void HippoOperator::solve(double h, std::span<const double> x, std::span<double> y) const {
  check(x.size() == B_.size() && y.size() == B_.size(), "hippo", "a solve of size ", N_, " got ",
        x.size(), " and ", y.size(), " values");
  HippoSolver solver(*this);
  solver.set(h);
  solver.solve(x.data(), y.data());
}

void HippoSolver::set(double h) {
  check(h >= 0 && std::isfinite(h), "hippo", "I - h A is solved for finite h >= 0, got h = ", h);
  if (h == h_) return;
  h_ = h;
  const auto N = static_cast<std::size_t>(op_.size());
  const std::vector<double>&p = op_.p(), &d = op_.d(), &B = op_.B();
  a_.resize(N);
  b_.resize(N);
  c_.resize(N);
  switch (op_.measure()) {
    case Measure::legs:
    case Measure::lagt:  // y = a x - b S, S <- c S + p a x
      for (std::size_t n = 0; n < N; ++n) {
        a_[n] = 1 / (1 + h * d[n]);
        b_[n] = h * p[n] * a_[n];
        c_[n] = 1 - p[n] * b_[n];
      }
      return;
    case Measure::legt: {
      // Pivots: d_n = h p_n^2 + ends + 1 / (4 d_{n-1}), all positive, so no rows are exchanged.
      scale_ = h / op_.theta();
      double pivot = 0;
      for (std::size_t n = 0; n < N; ++n) {
        b_[n] = n == 0 ? 0 : 0.5 / pivot;
        pivot = scale_ * p[n] * p[n] + (n == 0) * 0.5 + (n + 1 == N) * 0.5 + 0.5 * b_[n];
        a_[n] = 1 / pivot;
        c_[n] = scale_ * p[n];
      }
      return;
    }
    case Measure::fout: {  // blocks 1/(1+w^2) [[1, -w], [w, 1]], then minus (D B) (B^T D x) scale
      double gain = 0;
      for (std::size_t n = 0; n < N; n += 2) {
        const double w = h * 2 / op_.theta() * std::numbers::pi * static_cast<double>(n / 2);
        a_[n] = 1 / (1 + w * w);
        b_[n] = w * a_[n];
        c_[n] = B[n] * a_[n];
        c_[n + 1] = B[n] * b_[n];
        gain += B[n] * c_[n];
      }
      const double s = h * op_.theta() / 2;  // A = rotations - (theta/2) B B^T
      scale_ = s / (1 + s * gain);
      return;
    }
  }
}

// in(n) is asked for the right-hand side, out(n, y) given the solution; never in(n) after out(n),
// so that out may write where in and scratch read.
template <class T, class In, class Out>
void HippoSolver::run(T* scratch, In in, Out out) const {
  const auto N = static_cast<std::size_t>(op_.size());
  const double* __restrict a = a_.data();
  const double* __restrict b = b_.data();
  const double* __restrict c = c_.data();
  const double* __restrict p = op_.p().data();
  switch (op_.measure()) {
    case Measure::legs:
    case Measure::lagt: {
      T sum = {};
      for (std::size_t n = 0; n < N; ++n) {
        const T ax = a[n] * in(n);
        out(n, ax - b[n] * sum);
        sum = c[n] * sum + p[n] * ax;
      }
      return;
    }
    case Measure::legt: {
      T w = {};
      for (std::size_t n = 0; n < N; ++n) scratch[n] = w = p[n] * in(n) + b[n] * w;
      T z = {};
      for (std::size_t n = N; n-- > 0;) {
        z = a[n] * scratch[n] - 0.5 * a[n] * z;
        out(n, in(n)-c[n] * z);
      }
      return;
    }
    case Measure::fout: {
      const double* __restrict B = op_.B().data();
      T sums[4] = {};  // several, as one would wait for itself
      for (std::size_t n = 0; n < N; n += 2) {
        const T x = in(n), y = in(n + 1);
        scratch[n] = a[n] * x - b[n] * y;
        scratch[n + 1] = b[n] * x + a[n] * y;
        sums[n / 2 % 4] += B[n] * scratch[n];
      }
      const T sum = scale_ * (sums[0] + sums[1] + (sums[2] + sums[3]));
      for (std::size_t n = 0; n < N; ++n) out(n, scratch[n] - c[n] * sum);
      return;
    }
  }
}

void HippoSolver::solve(const double* x, double* y) const {
  run(
      y, [x](std::size_t n) { return x[n]; }, [y](std::size_t n, double v) { y[n] = v; });
}

// Written out as a vector, the solution would pass through the cache three times more.
void HippoSolver::step(const Lanes& input, double gain, Lanes* x, Lanes* scratch) const {
  const double* B = op_.B().data();
  run(
      scratch, [&](std::size_t n) -> Lanes { return x[n] + B[n] * input; },
      [&](std::size_t n, const Lanes& y) { x[n] += (y - x[n]) * gain; });
}

}  // namespace kindred::ssm
