#include "ssm/hippo_hold.h"

#include <cmath>

#include "ssm/discretise.h"

namespace kindred::ssm {

void HippoHold::step(double s, double u, double* c) {
  if (op_.measure() == Measure::legs) return compress(s, u, c);
  const auto N = static_cast<std::size_t>(op_.size());
  if (s != s_) held_ = discretise(op_.dense(), s, StepRule::hold());
  s_ = s;
  buffer_.assign(c, c + N);
  for (std::size_t n = 0; n < N; ++n) {
    double sum = held_.B[n] * u;
    for (std::size_t k = 0; k < N; ++k) sum += held_.A[n * N + k] * buffer_[k];
    c[n] = sum;
  }
}

void HippoHold::compress(double s, double u, double* c) {
  const auto N = static_cast<std::size_t>(op_.size());
  if (nodes_.x.empty()) {
    nodes_ = gauss_legendre(op_.size());
    table_ = legendre_basis(op_.size(), nodes_.x);
  }
  c[0] -= u;
  const double shrink = std::exp(-s);
  const double* row = table_.data<double>();
  buffer_.assign(N, 0.);
  for (std::size_t i = 0; i < N; ++i, row += N) {
    double value = 0;
    for (std::size_t n = 0; n < N; ++n) value += row[n] * c[n];
    value *= shrink * nodes_.weight[i];
    const double z = 2 * nodes_.x[i] * shrink - 1;
    double before = 0, now = value;  // value P_n(z)
    for (std::size_t n = 0; n < N; ++n) {
      buffer_[n] += now;
      const auto m = static_cast<double>(n);
      const double next = ((2 * m + 1) * z * now - m * before) / (m + 1);
      before = now;
      now = next;
    }
  }
  for (std::size_t n = 0; n < N; ++n) c[n] = op_.p()[n] * buffer_[n];
  c[0] += u;
}

}  // namespace kindred::ssm
