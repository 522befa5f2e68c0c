#include "autodiff/rng.h"

#include <Random123/philox.h>

#include <cmath>
#include <numbers>

#include "autodiff/parallel.h"

namespace kindred {

std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> c, std::array<uint32_t, 2> k) {
  const r123::Philox4x32::ctr_type counter{{c[0], c[1], c[2], c[3]}};
  const r123::Philox4x32::key_type key{{k[0], k[1]}};
  const auto r = r123::Philox4x32()(counter, key);
  return {r[0], r[1], r[2], r[3]};
}

namespace {
constexpr uint32_t kSplitDomain = 0x5eed0001;  // keeps split() apart from the numbers themselves
std::array<uint32_t, 2> words(uint64_t x) {
  return {static_cast<uint32_t>(x), static_cast<uint32_t>(x >> 32)};
}
double unit(uint64_t bits) { return (static_cast<double>(bits >> 11) + 0.5) * 0x1p-53; }
float unit32(uint32_t bits) { return (static_cast<float>(bits >> 9) + 0.5f) * 0x1p-23f; }

/// Fills out[0..n) in groups of `Group` numbers made from one Philox block each.
template <int Group, class T, class Make>
void fill(const Rng& rng, T* out, int64_t n, Make make) {
  const int64_t blocks = (n + Group - 1) / Group;
  parallel_for(blocks, 4096, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      T values[Group];
      make(rng.block(static_cast<uint64_t>(b)), values);
      for (int64_t i = 0; i < Group && b * Group + i < n; ++i) out[b * Group + i] = values[i];
    }
  });
}
}  // namespace

Rng Rng::split(std::string_view name) const {
  uint64_t hash = 1469598103934665603ull;  // FNV-1a
  for (unsigned char c : name) hash = (hash ^ c) * 1099511628211ull;
  return split(hash ^ 0x6e616d65ull);  // "name": a name never equals a small number
}
Rng Rng::split(uint64_t number) const {
  const auto n = words(number);
  const auto r = philox4x32_10({n[0], n[1], kSplitDomain, 0}, words(key_));
  return Rng(r[0] | static_cast<uint64_t>(r[1]) << 32);
}
std::array<uint32_t, 4> Rng::block(uint64_t position) const {
  const auto p = words(position);
  return philox4x32_10({p[0], p[1], 0, 0}, words(key_));
}
uint64_t Rng::bits(uint64_t position) const {
  const auto b = block(position);
  return b[0] | static_cast<uint64_t>(b[1]) << 32;
}
double Rng::uniform_at(uint64_t position) const { return unit(bits(position)); }
uint64_t Rng::below(uint64_t n, uint64_t position) const {
  return static_cast<uint64_t>((static_cast<unsigned __int128>(bits(position)) * n) >> 64);
}
double Rng::normal_at(uint64_t position) const {
  const auto b = block(position);
  const double u = unit(b[0] | static_cast<uint64_t>(b[1]) << 32);
  const double v = unit(b[2] | static_cast<uint64_t>(b[3]) << 32);
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * v);
}

Tensor Rng::uniform(const Shape& shape, DType dtype) const {
  Tensor t = Tensor::empty(shape, dtype);
  if (dtype == DType::f32) {
    fill<4>(*this, t.mutable_data<float>(), t.numel(), [](const auto& b, float* v) {
      for (int i = 0; i < 4; ++i) v[i] = unit32(b[i]);
    });
  } else {
    fill<2>(*this, t.mutable_data<double>(), t.numel(), [](const auto& b, double* v) {
      for (int i = 0; i < 2; ++i) v[i] = unit(b[2 * i] | static_cast<uint64_t>(b[2 * i + 1]) << 32);
    });
  }
  return t;
}

Tensor Rng::normal(const Shape& shape, DType dtype) const {
  Tensor t = Tensor::empty(shape, dtype);
  if (dtype == DType::f32) {  // Box and Muller: two pairs of words give two pairs of normals
    fill<4>(*this, t.mutable_data<float>(), t.numel(), [](const auto& b, float* v) {
      for (int i = 0; i < 4; i += 2) {
        const float radius = std::sqrt(-2 * std::log(unit32(b[i])));
        const float angle = 2 * std::numbers::pi_v<float> * unit32(b[i + 1]);
        v[i] = radius * std::cos(angle);
        v[i + 1] = radius * std::sin(angle);
      }
    });
  } else {
    fill<2>(*this, t.mutable_data<double>(), t.numel(), [](const auto& b, double* v) {
      const double u = unit(b[0] | static_cast<uint64_t>(b[1]) << 32);
      const double angle = 2 * std::numbers::pi * unit(b[2] | static_cast<uint64_t>(b[3]) << 32);
      const double radius = std::sqrt(-2 * std::log(u));
      v[0] = radius * std::cos(angle);
      v[1] = radius * std::sin(angle);
    });
  }
  return t;
}

Tensor Rng::rademacher(const Shape& shape, DType dtype) const {
  Tensor t = Tensor::empty(shape, dtype);
  dispatch_float(dtype, [&]<class T>(T) {
    fill<4>(*this, t.mutable_data<T>(), t.numel(), [](const auto& b, T* v) {
      for (int i = 0; i < 4; ++i) v[i] = b[i] >> 31 ? T(1) : T(-1);
    });
  });
  return t;
}

Tensor Rng::dropout_mask(const Shape& shape, double p, DType dtype) const {
  check(p >= 0 && p <= 1, "dropout", "probability ", p, " is outside [0, 1]");
  Tensor t = Tensor::empty(shape, dtype);
  const double threshold = p * 0x1p32, keep = p < 1 ? 1 / (1 - p) : 0;
  dispatch_float(dtype, [&]<class T>(T) {
    fill<4>(*this, t.mutable_data<T>(), t.numel(), [=](const auto& b, T* v) {
      for (int i = 0; i < 4; ++i) v[i] = b[i] < threshold ? T(0) : static_cast<T>(keep);
    });
  });
  return t;
}

}  // namespace kindred
