#include "autodiff/ops/lane_fft.h"

#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <numbers>

#include "autodiff/check.h"

namespace kindred::lane_fft {

namespace {

constexpr int kWidth = kLanes<float>;

Twiddle turn(double part_of_circle) {
  const double angle = 2 * std::numbers::pi * part_of_circle;
  return {static_cast<float>(std::cos(angle)), static_cast<float>(std::sin(angle))};
}

/// Factors 3 and 5 first, then 8s; one or two 4s take what 8s leave of the power of two.
std::vector<int> radices(int64_t n) {
  std::vector<int> found;
  for (const int odd : {5, 3})
    for (; n % odd == 0; n /= odd) found.push_back(odd);
  int twos = 0;
  for (; n % 2 == 0; n /= 2) ++twos;
  check(n == 1 && twos >= 4, "lane_fft", "length is not 2^a 3^b 5^c with a >= 4");
  const int fours = (3 - twos % 3) % 3;
  found.insert(found.end(), static_cast<std::size_t>((twos - 2 * fours) / 3), 8);
  found.insert(found.end(), static_cast<std::size_t>(fours), 4);
  return found;
}

Plan make_plan(int64_t n) {
  Plan plan{n, {}, {}};
  int64_t block = n;
  for (const int radix : radices(n)) {
    const int64_t stride = block / radix;
    Level level{radix, stride, {}};
    const bool first = plan.levels.empty();
    for (int64_t j = 0; j < stride; ++j)
      for (int k = first ? 0 : 1; k < radix; ++k) {
        const double shift = first ? 0.25 : 0;
        level.twiddle.push_back(
            turn(-static_cast<double>(j) * (k - shift) / static_cast<double>(block)));
      }
    if (first)
      for (int q = 0; q < radix; ++q) plan.corner.push_back(turn(0.25 * q / radix));
    plan.levels.push_back(std::move(level));
    block = stride;
  }
  return plan;
}

template <bool kFull>
inline Lane load(const Lanes& in, int64_t row) {
  if (row >= in.L) return Lane{};
  const float* p = in.at + row * in.step;
  if constexpr (kFull) return as_vector(p);
  Lane v{};
  std::memcpy(&v, p, static_cast<std::size_t>(in.width) * sizeof(float));
  return v;
}
template <bool kFull>
inline void store(const MutableLanes& out, int64_t row, const Lane& v) {
  if (row >= out.L) return;
  float* p = out.at + row * out.step;
  if constexpr (kFull) {
    as_vector(p) = v;
  } else {
    std::memcpy(p, &v, static_cast<std::size_t>(out.width) * sizeof(float));
  }
}

template <int R, bool kFull>
void first(const Plan& plan, const Lanes& in, Row* __restrict x) {
  const Level& level = plan.levels[0];
  const Twiddle* corner = plan.corner.data();
  const Twiddle* w = level.twiddle.data();
  const int64_t m = level.stride;
  for (int64_t j = 0; j < m; ++j, w += R) {
    Row z[R];
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) {
      const Lane v = load<kFull>(in, q * m + j);
      z[q] = {v * corner[q].re, v * corner[q].im};
    }
    butterfly<R>(z);
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) x[k * m + j] = z[k] * w[k];
  }
}

template <int R, bool kFull>
void first_inverse(const Plan& plan, const Row* __restrict x, const MutableLanes& out) {
  const Level& level = plan.levels[0];
  const Twiddle* corner = plan.corner.data();
  const Twiddle* w = level.twiddle.data();
  const int64_t m = level.stride;
  for (int64_t j = 0; j < m; ++j, w += R) {
    Row z[R];
#pragma GCC unroll 8
    for (int k = 0; k < R; ++k) z[k] = times_conj(x[k * m + j], w[k]);
    inverse_butterfly<R>(z);
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q)
      store<kFull>(out, q * m + j, z[q].re * corner[q].re + z[q].im * corner[q].im);
  }
}

template <int R>
void middle(const Level& level, Row* __restrict x) {
  const Twiddle* w = level.twiddle.data();
  const int64_t m = level.stride;
  for (int64_t j = 0; j < m; ++j, w += R - 1) {
    Row z[R];
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) z[q] = x[q * m + j];
    butterfly<R>(z);
    x[j] = z[0];
#pragma GCC unroll 8
    for (int k = 1; k < R; ++k) x[k * m + j] = z[k] * w[k - 1];
  }
}

template <int R>
void middle_inverse(const Level& level, Row* __restrict x) {
  const Twiddle* w = level.twiddle.data();
  const int64_t m = level.stride;
  for (int64_t j = 0; j < m; ++j, w += R - 1) {
    Row z[R];
    z[0] = x[j];
#pragma GCC unroll 8
    for (int k = 1; k < R; ++k) z[k] = times_conj(x[k * m + j], w[k - 1]);
    inverse_butterfly<R>(z);
#pragma GCC unroll 8
    for (int q = 0; q < R; ++q) x[q * m + j] = z[q];
  }
}

}  // namespace

const Plan& plan_of(int64_t n) {
  static std::mutex mutex;
  static auto* plans = new std::map<int64_t, const Plan*>;
  const std::lock_guard lock(mutex);
  const Plan*& plan = (*plans)[n];
  if (!plan) plan = new Plan(make_plan(n));
  return *plan;
}

void first_level(const Plan& plan, const Lanes& in, Row* x) {
  with_radix(plan.levels[0].radix, [&]<class R>(R) {
    (in.width == kWidth ? first<R::value, true> : first<R::value, false>)(plan, in, x);
  });
}
void first_level_inverse(const Plan& plan, const Row* x, const MutableLanes& out) {
  with_radix(plan.levels[0].radix, [&]<class R>(R) {
    (out.width == kWidth ? first_inverse<R::value, true> : first_inverse<R::value, false>)(plan, x,
                                                                                           out);
  });
}
void middle_level(const Level& level, Row* x) {
  with_radix(level.radix, [&]<class R>(R) { middle<R::value>(level, x); });
}
void middle_level_inverse(const Level& level, Row* x) {
  with_radix(level.radix, [&]<class R>(R) { middle_inverse<R::value>(level, x); });
}

}  // namespace kindred::lane_fft
