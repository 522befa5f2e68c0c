#include "nn/mlp.h"

#include "autodiff/choice.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/glu.h"

namespace kindred::nn {

namespace {
const Choices<Activation>& words() {
  static const Choices<Activation> list = {{"relu", Activation::relu},
                                           {"gelu_erf", Activation::gelu_erf},
                                           {"gelu_tanh", Activation::gelu_tanh},
                                           {"silu", Activation::silu},
                                           {"swiglu", Activation::swiglu}};
  return list;
}
}  // namespace

const char* name(Activation activation) { return word_of(activation, words()); }
Activation parse_activation(const std::string& word, const std::string& key) {
  return choose(word, words(), key);
}

Tensor activate(const Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::relu:
      return relu(x);
    case Activation::gelu_erf:
      return gelu_erf(x);
    case Activation::gelu_tanh:
      return gelu_tanh(x);
    case Activation::silu:
      return silu(x);
    case Activation::swiglu:
      return swiglu(x);
  }
  fail(Fault::usage, "activation", "unknown value ", static_cast<int>(activation));
}

Mlp Mlp::make(const Options& o, const Rng& rng, DType dtype) {
  const bool gated = o.activation == Activation::swiglu;
  const int64_t usual = gated ? (8 * o.width / 3 + 7) / 8 * 8 : 4 * o.width;
  const int64_t hidden = o.hidden > 0 ? o.hidden : usual;
  return {o.activation,
          Linear::make(o.width, gated ? 2 * hidden : hidden, o.bias, rng.split("up"), o.std, dtype),
          Linear::make(hidden, o.width, o.bias, rng.split("down"), o.std_down, dtype)};
}

Tensor Mlp::operator()(const Tensor& x, const Tensor& residual) const {
  return down(activate(up(x), activation), residual);
}

}  // namespace kindred::nn
