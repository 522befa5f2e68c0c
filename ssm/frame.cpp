#include "ssm/frame.h"

#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"

namespace kindred::ssm {

namespace {
constexpr int64_t kTimeFeatures = 64;
constexpr double kTimeScale = 16;  ///< of the random frequencies, as in score_sde and EDM
}  // namespace

nn::Linear linear_map(int64_t in, int64_t out, const Rng& rng, DType dtype) {
  return nn::Linear::make(in, out, true, rng, 1 / std::sqrt(static_cast<double>(in)), dtype);
}

Frame Frame::make(const std::string& name, const harness::BackboneSpec& spec, int64_t width,
                  std::optional<nn::NormKind> final_norm, const Rng& rng, DType dtype) {
  check(spec.in_channels >= 1 && spec.out_channels >= 1, name,
        "wants in_channels and out_channels, got ", spec.in_channels, " and ", spec.out_channels);
  check(width >= 1, "model.width", width, " channels");
  Frame f;
  f.name = name;
  f.spec = spec;
  f.width = width;
  if (spec.in_channels != width)
    f.input = linear_map(spec.in_channels, width, rng.split("input"), dtype);
  if (spec.time) {
    f.time = nn::TimeEmbedding::make(kTimeFeatures, kTimeScale, rng.split("time"), dtype);
    f.time_projection = linear_map(kTimeFeatures, width, rng.split("time_projection"), dtype);
  }
  if (final_norm) f.final_norm = nn::Norm::make(width, *final_norm, dtype);
  if (spec.out_channels != width)
    f.output = linear_map(width, spec.out_channels, rng.split("output"), dtype);
  return f;
}

Tensor Frame::embed(const Tensor& x, const harness::Context& context) const {
  check(x.rank() == 3 && x.dim(2) == spec.in_channels && x.dim(1) > 0, name, "wants x [B, L, ",
        spec.in_channels, "], got ", x.shape());
  const Tensor h = input ? (*input)(x) : x;
  if (!time) return h;
  check(context.time.defined() && context.time.numel() == x.dim(0), name,
        "was built with a time input and needs one value for each of ", x.dim(0), " sequences");
  return h + reshape((*time_projection)((*time)(context.time)), {x.dim(0), 1, width});
}

Tensor Frame::finish(const Tensor& h) const {
  const Tensor normed = final_norm ? (*final_norm)(h) : h;
  return output ? (*output)(normed) : normed;
}

}  // namespace kindred::ssm
