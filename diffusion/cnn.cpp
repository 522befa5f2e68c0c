#include "diffusion/cnn.h"

#include <algorithm>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/resample.h"
#include "harness/config.h"

namespace kindred::diffusion {

namespace {
void check_config(const harness::BackboneSpec& spec, const CnnConfig& config) {
  check(!spec.causal, "cnn",
        "every output sees a neighbourhood on all sides, but this objective needs a causal "
        "backbone; use the objective classify, or the backbones attention or s4d");
  check(spec.height > 1 && spec.width > 1, "cnn", "needs images, got ", spec.height, "x",
        spec.width, " data; for sequences choose attention or s4d");
  check(spec.height * spec.width == spec.length, "cnn", "images of ", spec.height, "x", spec.width,
        " for sequences of ", spec.length);
  check(config.blocks >= 0 && config.groups > 0, "cnn", "blocks ", config.blocks, ", groups ",
        config.groups);
  check(config.dropout >= 0 && config.dropout < 1, "cnn", "dropout ", config.dropout,
        " must be in [0, 1)");
  const int64_t levels = config.levels;
  check(levels >= 1 && levels <= 10 && std::min(spec.height, spec.width) >> levels >= 1,
        "model.levels", levels, " halvings do not fit images of ", spec.height, "x", spec.width);
  check(config.width > 0 && config.width % (int64_t{1} << (levels - 1)) == 0, "model.width",
        config.width, " channels cannot be halved ", levels - 1, " times");
}
}  // namespace

Cnn Cnn::make(const harness::BackboneSpec& spec, const CnnConfig& config, const Rng& rng) {
  check_config(spec, config);
  const UnetConfig block{.groups = config.groups,
                         .time_width = config.time_width,
                         .time_scale = config.time_scale,
                         .dropout = config.dropout};
  Cnn net;
  net.spec = spec;
  if (spec.time)
    net.time = nn::TimeEmbedding::make(config.time_width, config.time_scale, rng.split("time"));
  int64_t from = spec.in_channels;
  for (int64_t i = 0; i < config.levels; ++i) {
    const Rng stream = rng.split("levels").split(static_cast<uint64_t>(i));
    const int64_t to = config.width >> (config.levels - 1 - i);
    CnnLevel level{nn::Conv2d::make({.in = from, .out = to, .stride = 2}, stream.split("halve")),
                   {}};
    for (int64_t b = 0; b < config.blocks; ++b)
      level.blocks.push_back(ResBlock::make(
          to, to, block, spec.time, stream.split("blocks").split(static_cast<uint64_t>(b))));
    net.levels.push_back(std::move(level));
    from = to;
  }
  net.output_norm = GroupNorm::make(config.width, config.groups);
  net.output = nn::Linear::make_uniform(config.width, spec.out_channels, true, rng.split("output"));
  return net;
}

Tensor Cnn::forward(const Tensor& x, const harness::Context& context) const {
  check(x.rank() == 3 && x.dim(1) == spec.length && x.dim(2) == spec.in_channels, "cnn", "x ",
        x.shape(), " does not fit [B, ", spec.length, ", ", spec.in_channels, "]");
  check(!time || (context.time.defined() && context.time.shape() == Shape{x.dim(0)}), "cnn",
        "needs a noise feature of shape [", x.dim(0), "]");
  harness::check_context(context, x, "cnn", {});
  const Tensor e = time ? silu((*time)(context.time)) : Tensor();
  uint64_t site = 0;
  Tensor h = reshape(x, {x.dim(0), spec.height, spec.width, spec.in_channels});
  std::vector<Shape> finer;
  for (const CnnLevel& level : levels) {
    finer.push_back(h.shape());
    h = level.halve(h);
    for (const ResBlock& block : level.blocks) {
      const Rng stream = context.dropout.split(site++);
      const auto forward = [&block, e, training = context.training, stream](const Tensor& u) {
        return block.forward(u, e, training, stream);
      };
      h = harness::run_block(context, forward, h);
    }
  }
  h = output(output_norm.silu(h));
  for (std::size_t i = finer.size(); i-- > 0;) h = upsample_nearest2x(h, finer[i][1], finer[i][2]);
  return reshape(h, {x.dim(0), spec.length, spec.out_channels});
}

namespace {
const harness::RegisterBackbone registered(
    {"cnn", "convolutions that halve the image, for classifiers; images only, not causal",
     [](const harness::BackboneSpec& spec, harness::Settings& settings, const Rng& rng) {
       CnnConfig config;
       settings.read("model", config);
       return harness::AnyBackbone(Cnn::make(spec, config, rng));
     }});
}  // namespace

}  // namespace kindred::diffusion
