#include "nn/norm.h"

#include "autodiff/choice.h"
#include "autodiff/ops/norm.h"

namespace kindred::nn {

namespace {
const Choices<NormKind>& words() {
  static const Choices<NormKind> list = {
      {"ln", NormKind::ln}, {"ln_nobias", NormKind::ln_nobias}, {"rms", NormKind::rms}};
  return list;
}
}  // namespace

const char* name(NormKind kind) { return word_of(kind, words()); }
NormKind parse_norm(const std::string& word, const std::string& key) {
  return choose(word, words(), key);
}

Norm Norm::make(int64_t width, NormKind kind, DType dtype, double eps) {
  const double usual = kind == NormKind::rms ? 1e-6 : 1e-5;
  Norm norm{kind, eps > 0 ? eps : usual, constant({width}, 1, Role::norm, dtype), {}};
  if (kind == NormKind::ln) norm.shift = zeros({width}, Role::norm, dtype);
  return norm;
}

Tensor Norm::operator()(const Tensor& x) const {
  if (kind == NormKind::rms) return rms_norm(x, gain.value, eps);
  return layer_norm(x, gain.value, shift ? shift->value : Tensor(), eps);
}

}  // namespace kindred::nn
