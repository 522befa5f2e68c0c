#include "ssm/frame.h"

#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"

namespace kindred::ssm {

namespace {
constexpr int64_t kTimeFeatures = 64;
}  // namespace

nn::Linear linear_map(int64_t in, int64_t out, const Rng& rng, DType dtype) {
  return nn::Linear::make(in, out, true, rng, 1 / std::sqrt(static_cast<double>(in)), dtype);
}

bool parse_film(const std::string& conditioning) {
  return choose<bool>(conditioning, {{"input", false}, {"film", true}}, "model.conditioning");
}

Frame Frame::make(const std::string& name, const harness::BackboneSpec& spec, int64_t width,
                  std::optional<nn::NormKind> final_norm, int64_t film_blocks, const Rng& rng,
                  DType dtype) {
  check(spec.in_channels >= 1 && spec.out_channels >= 1, name,
        "wants in_channels and out_channels, got ", spec.in_channels, " and ", spec.out_channels);
  check(width >= 1, "model.width", width, " channels; at least 1");
  Frame f;
  f.name = name;
  f.spec = spec;
  f.width = width;
  if (spec.in_channels != width)
    f.input = linear_map(spec.in_channels, width, rng.split("input"), dtype);
  f.condition =
      nn::Condition::make(kTimeFeatures, nn::kTimeScale, spec.time, spec.classes, rng, dtype);
  if (!f.condition.empty()) {
    f.time_projection = linear_map(kTimeFeatures, width, rng.split("time_projection"), dtype);
    for (int64_t k = 0; k < film_blocks; ++k)
      f.film.push_back(nn::Linear::make(kTimeFeatures, 2 * width, true,
                                        rng.split("film").split(static_cast<uint64_t>(k)), 0,
                                        dtype));
  }
  if (final_norm) f.final_norm = nn::Norm::make(width, *final_norm, dtype);
  if (spec.out_channels != width)
    f.output = linear_map(width, spec.out_channels, rng.split("output"), dtype);
  return f;
}

Tensor Frame::told(const harness::Context& context, int64_t batch) const {
  return condition(context.time, context.labels, batch, name.c_str());
}

Tensor Frame::embed(const Tensor& x, const Tensor& e) const {
  check(x.rank() == 3 && x.dim(2) == spec.in_channels && x.dim(1) > 0, name, "wants x [B, L, ",
        spec.in_channels, "], got ", x.shape());
  const Tensor h = input ? (*input)(x) : x;
  return e.defined() ? h + reshape((*time_projection)(e), {x.dim(0), 1, width}) : h;
}

Tensor Frame::normed(std::size_t k, const nn::Norm& norm, const Tensor& h, const Tensor& e) const {
  if (film.empty()) return norm(h);
  const Tensor both = film[k](silu(e));
  return norm.modulated(h, slice(both, 1, 0, width), slice(both, 1, width, width));
}

Tensor Frame::finish(const Tensor& h) const {
  const Tensor normed = final_norm ? (*final_norm)(h) : h;
  return output ? (*output)(normed) : normed;
}

}  // namespace kindred::ssm
