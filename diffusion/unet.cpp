#include "diffusion/unet.h"

#include <charconv>
#include <numeric>

#include "autodiff/ops/attention.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/group_norm.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/resample.h"
#include "harness/config.h"
#include "nn/dropout.h"

namespace kindred::diffusion {

namespace {

/// "1,2,2" times width.
std::vector<int64_t> level_channels(const UnetConfig& config) {
  std::vector<int64_t> channels;
  const std::string& text = config.mult;
  const char *at = text.data(), *end = text.data() + text.size();
  while (true) {
    int64_t factor = 0;
    const auto [stop, error] = std::from_chars(at, end, factor);
    check(error == std::errc() && factor > 0 && (stop == end || *stop == ','), "model.mult", '"',
          text, "\" is no list of positive integers such as 1,2,2");
    channels.push_back(factor * config.width);
    if (stop == end) return channels;
    at = stop + 1;
  }
}

void check_config(const harness::BackboneSpec& spec, const UnetConfig& config, std::size_t levels) {
  check(!spec.causal, "unet",
        "every output of a U-Net sees every input, but this objective needs a causal backbone; "
        "use the objective gaussian, or the backbones attention or s4d");
  check(spec.height > 1 && spec.width > 1, "unet", "needs images, got ", spec.height, "x",
        spec.width, " data; use gaussian/mlp for points");
  check(spec.height * spec.width == spec.length, "unet", "images of ", spec.height, "x", spec.width,
        " for sequences of ", spec.length);
  check(config.width > 0 && config.blocks > 0 && config.groups > 0, "unet", "width ", config.width,
        ", blocks ", config.blocks, ", groups ", config.groups, "; all must be positive");
  check(config.dropout >= 0 && config.dropout < 1, "unet", "dropout ", config.dropout,
        " must be in [0, 1)");
  check(levels <= 10 && std::min(spec.height, spec.width) >> (levels - 1) >= 1, "unet", levels,
        " levels are too many for images of ", spec.height, "x", spec.width,
        "; shorten model.mult");
}

}  // namespace

GroupNorm GroupNorm::make(int64_t channels, int64_t groups) {
  return {std::gcd(groups, channels), nn::constant({channels}, 1, nn::Role::norm),
          nn::zeros({channels}, nn::Role::norm)};
}
Tensor GroupNorm::silu(const Tensor& x) const {
  return group_norm_silu(x, groups, gain.value, shift.value);
}
Tensor GroupNorm::operator()(const Tensor& x) const {
  return group_norm(x, groups, gain.value, shift.value);
}

ResBlock ResBlock::make(int64_t in, int64_t out, const UnetConfig& config, bool conditioned,
                        const Rng& rng) {
  ResBlock block;
  block.norm1 = GroupNorm::make(in, config.groups);
  block.norm2 = GroupNorm::make(out, config.groups);
  block.conv1 = nn::Conv2d::make({.in = in, .out = out}, rng.split("conv1"));
  block.conv2 =
      nn::Conv2d::make({.in = out, .out = out, .init = nn::ConvInit::zero}, rng.split("conv2"));
  if (conditioned)
    block.time = nn::Linear::make_uniform(config.time_width, out, true, rng.split("time"));
  if (in != out)
    block.skip = nn::Conv2d::make({.in = in, .out = out, .kernel = 1}, rng.split("skip"));
  block.dropout = config.dropout;
  return block;
}

Tensor ResBlock::forward(const Tensor& x, const Tensor& e, bool training, const Rng& site) const {
  const Tensor h = conv1(norm1.silu(x), time ? (*time)(e) : Tensor());
  return conv2(nn::dropout(norm2.silu(h), dropout, site, training), {}, skip ? (*skip)(x) : x);
}

ImageAttention ImageAttention::make(int64_t channels, int64_t groups, const Rng& rng) {
  return {GroupNorm::make(channels, groups),
          nn::Linear::make_uniform(channels, 3 * channels, true, rng.split("qkv")),
          nn::Linear::make(channels, channels, true, rng.split("out"), 0),
          channels % 32 == 0 ? channels / 32 : 1};
}

Tensor ImageAttention::operator()(const Tensor& x) const {
  const Tensor tokens = reshape(norm(x), {x.dim(0), x.dim(1) * x.dim(2), x.dim(3)});
  const Tensor mixed = attention_qkv(qkv(tokens), heads, heads, {.causal = false});
  return add(x, reshape(out(mixed), x.shape()));
}

Unet Unet::make(const harness::BackboneSpec& spec, const UnetConfig& config, const Rng& rng) {
  const std::vector<int64_t> channels = level_channels(config);
  const std::size_t count = channels.size();
  check_config(spec, config, count);
  Unet net;
  net.spec = spec;
  net.condition =
      nn::Condition::make(config.time_width, config.time_scale, spec.time, spec.classes, rng);
  const bool conditioned = !net.condition.empty();
  net.input = nn::Conv2d::make({.in = spec.in_channels, .out = channels[0]}, rng.split("input"));

  const auto chain = [&](int64_t in, int64_t middle, int64_t out, const Rng& stream) {
    std::vector<ResBlock> blocks;
    for (int64_t b = 0; b < config.blocks; ++b) {
      const int64_t to = b + 1 == config.blocks ? out : middle;
      blocks.push_back(
          ResBlock::make(b == 0 ? in : middle, to, config, conditioned, stream.split(b)));
    }
    return blocks;
  };
  for (std::size_t i = 0; i < count; ++i) {
    const Rng stream = rng.split("level").split(i);
    const bool coarsest = i + 1 == count;
    const int64_t c = channels[i], finer = i == 0 ? c : channels[i - 1];
    // What comes up from below: the coarsest level already returns to the channels above it.
    const int64_t below = coarsest ? 0 : i + 2 == count ? c : channels[i + 1];
    UnetLevel level;
    level.down = chain(finer, c, c, stream.split("down"));
    level.up = chain(c + below, c, coarsest ? finer : c, stream.split("up"));
    if (!coarsest)
      level.halve = nn::Conv2d::make({.in = c, .out = c, .stride = 2}, stream.split("halve"));
    net.levels.push_back(std::move(level));
  }
  if (config.attention)
    net.attention = ImageAttention::make(channels.back(), config.groups, rng.split("attention"));
  net.output_norm = GroupNorm::make(channels[0], config.groups);
  net.output =
      nn::Conv2d::make({.in = channels[0], .out = spec.out_channels, .init = nn::ConvInit::zero},
                       rng.split("output"));
  return net;
}

Tensor Unet::forward(const Tensor& x, const harness::Context& context) const {
  check(x.rank() == 3 && x.dim(1) == spec.length && x.dim(2) == spec.in_channels, "unet", "x ",
        x.shape(), " does not fit [B, ", spec.length, ", ", spec.in_channels, "]");
  harness::check_context(context, x, "unet", {.labels = spec.classes > 0});
  const Tensor told = condition(context.time, context.labels, x.dim(0), "unet");
  const Tensor e = told.defined() ? silu(told) : told;
  int64_t site = 0;
  const auto run = [&](const std::vector<ResBlock>& blocks, Tensor h) {
    for (const ResBlock& block : blocks) {
      const Rng stream = context.dropout.split(static_cast<uint64_t>(site++));
      const auto forward = [&block, e, training = context.training, stream](const Tensor& u) {
        return block.forward(u, e, training, stream);
      };
      h = harness::run_block(context, forward, h);
    }
    return h;
  };

  Tensor h = input(reshape(x, {x.dim(0), spec.height, spec.width, spec.in_channels}));
  std::vector<Tensor> kept;
  for (const UnetLevel& level : levels) {
    h = run(level.down, h);
    if (!level.halve) break;
    kept.push_back(h);
    h = (*level.halve)(h);
  }
  if (attention) h = (*attention)(h);
  h = run(levels.back().up, h);
  for (std::size_t i = kept.size(); i-- > 0;) h = run(levels[i].up, upsample_concat(h, kept[i]));
  return reshape(output(output_norm.silu(h)), {x.dim(0), spec.length, spec.out_channels});
}

namespace {
const harness::RegisterBackbone registered(
    {"unet", "convolutions at several resolutions with skip connections; images only, not causal",
     [](const harness::BackboneSpec& spec, harness::Settings& settings, const Rng& rng) {
       UnetConfig config;
       settings.read("model", config);
       return harness::AnyBackbone(Unet::make(spec, config, rng));
     }});
}  // namespace

}  // namespace kindred::diffusion
