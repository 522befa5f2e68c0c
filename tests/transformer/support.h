// Small backbones with parameters large enough that every part matters.
#pragma once
#include <cmath>
#include <string>
#include <vector>

#include "autodiff/rng.h"
#include "tests/support/tensors.h"
#include "transformer/backbone.h"

namespace kindred::test {

using namespace kindred::transformer;

inline harness::BackboneSpec small_spec(int64_t length = 12, bool causal = true) {
  harness::BackboneSpec spec;
  spec.in_channels = spec.out_channels = 16;
  spec.length = length;
  spec.width = length;
  spec.causal = causal;
  return spec;
}

inline Config small_config() {
  Config c;
  c.layers = 2;
  c.heads = 4;
  c.width = 16;
  return c;
}

/// make(), then every parameter replaced by normals of a size that keeps activations near one.
inline Backbone make_random(const harness::BackboneSpec& spec, const Config& config, DType dtype) {
  Backbone m = Backbone::make(spec, config, Rng(5), dtype);
  uint64_t n = 0;
  for (auto& p : nn::parameters_of(m)) {
    const Tensor noise = Rng(6).split(n++).normal(p.parameter->value.shape(), DType::f64);
    const double shift = p.parameter->role == nn::Role::norm ? 1 : 0;
    Tensor value = Tensor::empty(noise.shape(), DType::f64);
    for (int64_t i = 0; i < noise.numel(); ++i)
      value.mutable_data<double>()[i] = shift + 0.3 * noise.item(i);
    p.parameter->value = value.to(dtype);
    p.parameter->value.set_requires_grad();
  }
  return m;
}

/// Every combination of positions, norm kind and place, and number of key/value heads.
inline std::vector<Config> variants() {
  std::vector<Config> list;
  for (const char* pos : {"learned", "sin", "rope", "none"})
    for (const char* norm : {"ln", "ln_nobias", "rms"})
      for (const char* place : {"pre", "post"})
        for (const int64_t kv : {0, 2, 1}) {
          Config c = small_config();
          c.pos = pos;
          c.norm = norm;
          c.norm_place = place;
          c.kv_heads = kv;
          // The other choices ride along.
          c.ffn =
              std::vector<const char*>{"relu", "gelu_erf", "gelu_tanh", "swiglu"}[list.size() % 4];
          c.bias = list.size() % 2 == 0;
          c.rope_layout = list.size() % 3 == 0 ? "interleaved" : "half";
          c.head_dim = list.size() % 5 == 0 ? 6 : 0;
          list.push_back(c);
        }
  return list;
}

inline std::string label(const Config& c) {
  return c.pos + " " + c.norm + " " + c.norm_place + " kv=" + std::to_string(c.kv_heads) + " " +
         c.ffn;
}

}  // namespace kindred::test
