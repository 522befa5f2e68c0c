#include "ssm/hippo_wave.h"

#include <algorithm>

#include "ssm/hippo_operator.h"

namespace kindred::ssm {

namespace {

constexpr int kVectors = 4;
constexpr int64_t kSteps = kVectors * kLanes;  // of a wave
typedef double Unaligned __attribute__((vector_size(64), aligned(8), may_alias));
typedef int64_t Order __attribute__((vector_size(64)));

}  // namespace

HippoWave::HippoWave(const std::vector<double>& p, const std::vector<double>& d, double alpha)
    : N_(static_cast<int64_t>(p.size())), alpha_(alpha) {
  // Element i belongs to index N + kSteps - 1 - i: lane w of wave front j, index j - w, is then
  // element (N + kSteps - 1 - j) + w.
  const auto reversed = [&](const std::vector<double>& x) {
    std::vector<double> r(x.size() + 2 * kSteps, 0.);
    std::copy(x.rbegin(), x.rend(), r.begin() + kSteps);
    return r;
  };
  p_ = reversed(p);
  d_ = reversed(d);
}

void HippoWave::advance(const double* H, const double* u, int64_t n, double* c) const {
  constexpr Order kFirst = {8, 0, 1, 2, 3, 4, 5, 6}, kNext = {15, 0, 1, 2, 3, 4, 5, 6};
  for (int64_t begin = 0; begin < n; begin += kSteps) {
    Lanes h[kVectors], implicit[kVectors], explicit_[kVectors], Z[kVectors], x[kVectors] = {};
    for (int64_t w = 0; w < kSteps;
         ++w) {  // steps past the end have H = 0: they pass c on as it is
      const bool inside = begin + w < n;
      h[w / kLanes][w % kLanes] = inside ? H[begin + w] : 0;
      Z[w / kLanes][w % kLanes] = inside ? -u[begin + w] : 0;
    }
    for (int v = 0; v < kVectors; ++v) {
      implicit[v] = alpha_ * h[v];
      explicit_[v] = (1 - alpha_) * h[v];
    }
    const double* p = p_.data() + N_ + kSteps - 1;
    const double* d = d_.data() + N_ + kSteps - 1;
    for (int64_t j = 0; j < N_ + kSteps - 1; ++j, --p, --d) {
      Lanes in = {};
      in[0] = j < N_ ? c[j] : 0;
#pragma GCC unroll 4
      for (int v = kVectors - 1; v >= 0; --v) {
        const Lanes before =
            v == 0 ? __builtin_shuffle(x[v], in, kFirst) : __builtin_shuffle(x[v], x[v - 1], kNext);
        const Lanes pn = *reinterpret_cast<const Unaligned*>(p + v * kLanes);
        const Lanes dn = *reinterpret_cast<const Unaligned*>(d + v * kLanes);
        const Lanes factor = 1 / (1 + implicit[v] * dn);
        const Lanes kept = (before - explicit_[v] * dn * before) * factor;
        const Lanes after = kept - h[v] * pn * factor * Z[v];
        Z[v] += pn * (alpha_ * after + (1 - alpha_) * before);
        x[v] = after;
      }
      if (j >= kSteps - 1) c[j - kSteps + 1] = x[kVectors - 1][kLanes - 1];
    }
  }
}

}  // namespace kindred::ssm
