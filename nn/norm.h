// Norm: normalisation of the last dimension (width C) with a learned gain g and shift s.
//   ln, ln_nobias: (x - mean) / sqrt(var + eps) * g [+ s]   (Ba, Kiros and Hinton 2016)
//   rms:           x / sqrt(mean(x^2) + eps) * g            (Zhang and Sennrich 2019)
#pragma once
#include <optional>
#include <string>

#include "nn/init.h"

namespace kindred::nn {

enum class NormKind { ln, ln_nobias, rms };
const char* name(NormKind kind);
/// From "ln", "ln_nobias" or "rms"; a usage error names `key` otherwise.
NormKind parse_norm(const std::string& word, const std::string& key);

struct Norm {
  NormKind kind = NormKind::ln;
  double eps = 1e-5;
  Parameter gain;                  ///< [C], ones at first
  std::optional<Parameter> shift;  ///< [C], zeros at first; kind ln only

  /// eps = 0 takes the usual value: 1e-5 for ln, 1e-6 for rms.
  static Norm make(int64_t width, NormKind kind, DType dtype = DType::f32, double eps = 0);

  Tensor operator()(const Tensor& x) const;
  /// (1 + by) N(x) + to, as a condition steers it: x [B, ..., C], by and to [B, C].
  Tensor modulated(const Tensor& x, const Tensor& by, const Tensor& to) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("gain", self.gain);
    visit("shift", self.shift);
  }
};

}  // namespace kindred::nn
