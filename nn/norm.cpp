#include "nn/norm.h"

#include "autodiff/choice.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
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

Tensor Norm::modulated(const Tensor& x, const Tensor& by, const Tensor& to) const {
  const Tensor factor = add_scalar(by, 1);
  const Tensor moved = shift ? add(mul(factor, shift->value), to) : to;
  if (kind != NormKind::rms) return layer_norm(x, mul(factor, gain.value), moved, eps);
  Shape row = x.shape();
  for (int d = 1; d + 1 < x.rank(); ++d) row = row.with(d, 1);
  return add(rms_norm(x, mul(factor, gain.value), eps), reshape(moved, row));
}

}  // namespace kindred::nn
