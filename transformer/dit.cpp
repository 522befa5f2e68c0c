// Construction and forward pass of the dit backbone, and its registration.
#include "transformer/dit.h"

#include <cmath>
#include <numeric>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/norm.h"
#include "transformer/backbone.h"

namespace kindred::transformer {

namespace {
constexpr double kNormEps = 1e-6;

double glorot(int64_t in, int64_t out) { return std::sqrt(2 / static_cast<double>(in + out)); }

/// "1, 2, 7, 14": the patches that tile an image.
std::string tilings(int64_t height, int64_t width) {
  std::string list;
  const int64_t both = std::gcd(height, width);
  for (int64_t p = 1; p <= both; ++p)
    if (both % p == 0) list += (list.empty() ? "" : ", ") + std::to_string(p);
  return list;
}

/// (1 + scale) N(x) + shift; scale and shift [B, C] or [C].
Tensor modulated_norm(const Tensor& x, const Tensor& scale, const Tensor& shift) {
  return layer_norm(x, add_scalar(scale, 1), shift, kNormEps);
}

/// x + gate branch; gate [B, C] or [C].
Tensor gated_sum(const Tensor& x, const Tensor& gate, const Tensor& branch) {
  const Tensor g = gate.rank() == 1 ? gate : reshape(gate, {gate.dim(0), 1, gate.dim(1)});
  return add(x, mul(branch, g));
}
}  // namespace

Tensor patches(const Tensor& x, int64_t height, int64_t width, int64_t p) {
  const int64_t B = x.dim(0), c = x.dim(2), rows = height / p, columns = width / p;
  if (p == 1) return x;
  const Tensor grid = permute(reshape(x, {B, rows, p, columns, p * c}), {0, 1, 3, 2, 4});
  return reshape(grid, {B, rows * columns, p * p * c});
}

Tensor unpatch(const Tensor& tokens, int64_t height, int64_t width, int64_t p) {
  const int64_t B = tokens.dim(0), c = tokens.dim(2) / (p * p), rows = height / p,
                columns = width / p;
  if (p == 1) return tokens;
  const Tensor lines = permute(reshape(tokens, {B, rows, columns, p, p * c}), {0, 1, 3, 2, 4});
  return reshape(lines, {B, height * width, c});
}

Tensor grid_sinusoids(int64_t rows, int64_t columns, int64_t C, DType dtype) {
  check(C % 4 == 0, "model.width", C, " is no multiple of 4, as the positions of images need");
  const Tensor row = reshape(sinusoids(0, rows, C / 2, dtype), {rows, 1, C / 2});
  const Tensor column = reshape(sinusoids(0, columns, C / 2, dtype), {1, columns, C / 2});
  const Shape half{rows, columns, C / 2};
  return reshape(concat({broadcast_to(row, half), broadcast_to(column, half)}, 2),
                 {rows * columns, C});
}

Modulation Modulation::make(int64_t width, int64_t count, bool conditioned, const Rng& rng,
                            DType dtype) {
  Modulation m;
  if (conditioned)
    m.map = nn::Linear::make(width, count * width, true, rng, 0, dtype);
  else
    m.constant = nn::zeros({count * width}, nn::Role::bias, dtype);
  return m;
}

std::vector<Tensor> Modulation::operator()(const Tensor& style, int64_t width) const {
  const Tensor all = map ? (*map)(style) : constant->value;
  std::vector<Tensor> parts;
  for (int64_t at = 0; at < all.dim(-1); at += width) parts.push_back(slice(all, -1, at, width));
  return parts;
}

Dit Dit::make(const harness::BackboneSpec& spec, const DitConfig& config, const Rng& rng,
              DType dtype) {
  check(spec.in_channels >= 1 && spec.out_channels >= 1 && spec.length >= 1, "dit",
        "wants in_channels, out_channels and length of at least 1, got ", spec.in_channels, ", ",
        spec.out_channels, ", ", spec.length);
  check(!spec.causal, "dit",
        "every output of the dit backbone sees every input, but this objective needs a causal "
        "backbone; use attention or s4");
  Dit m;
  m.spec = spec;
  m.plan = transformer::plan(config, m.image());
  const int64_t C = m.plan.width;
  if (m.image()) {
    check(spec.height * spec.width == spec.length, "dit", "images of ", spec.height, "x",
          spec.width, " for sequences of ", spec.length);
    check(config.patch >= 1, "model.patch", config.patch, " pixels");
    check(spec.height % config.patch == 0 && spec.width % config.patch == 0, "model.patch",
          "patches of ", config.patch, "x", config.patch, " do not tile images of ", spec.height,
          "x", spec.width, "; choose one of ", tilings(spec.height, spec.width));
    m.patch = config.patch;
    m.positions = grid_sinusoids(spec.height / m.patch, spec.width / m.patch, C, dtype);
  }
  const int64_t area = m.patch * m.patch, in = area * spec.in_channels;
  // Tokens of about the size of the positions, whatever the patch.
  if (m.image() || in != C)
    m.input = nn::Linear::make(in, C, true, rng.split("input"),
                               1 / std::sqrt(static_cast<double>(in)), dtype);
  m.condition = nn::Condition::make(C, config.time_scale, spec.time, spec.classes, rng, dtype);
  const bool conditioned = !m.condition.empty();
  for (int64_t l = 0; l < m.plan.layers; ++l) {
    const Rng r = rng.split("blocks").split(static_cast<uint64_t>(l));
    const int64_t inner = m.plan.heads * m.plan.head_dim, hidden = m.plan.hidden;
    m.blocks.push_back(
        {Modulation::make(C, 6, conditioned, r.split("modulation"), dtype),
         SelfAttention::make(m.plan, glorot(C, m.plan.qkv_width()), glorot(inner, C), r, dtype),
         nn::Mlp::make({C, hidden, m.plan.ffn, true, glorot(C, hidden), glorot(hidden, C)},
                       r.split("ffn"), dtype)});
  }
  m.final_modulation = Modulation::make(C, 2, conditioned, rng.split("final_modulation"), dtype);
  m.output = nn::Linear::make(C, area * spec.out_channels, true, rng.split("output"), 0, dtype);
  return m;
}

Tensor Dit::run(std::size_t block, const Tensor& x, const Tensor& style,
                const harness::Context& context) const {
  const DitBlock& b = blocks[block];
  const std::vector<Tensor> m = b.modulation(style, plan.width);
  const auto core = [&](const Tensor& qkv) { return attend(plan, qkv, false, context, block); };
  const Tensor mixed = b.attention.run(plan, modulated_norm(x, m[1], m[0]), 0, core);
  const Tensor y = gated_sum(x, m[2], drop(mixed, plan.p_resid, context, block, "attention"));
  const Tensor moved = b.ffn(modulated_norm(y, m[4], m[3]));
  return gated_sum(y, m[5], drop(moved, plan.p_resid, context, block, "ffn"));
}

Tensor Dit::forward(const Tensor& x, const harness::Context& context) const {
  check(x.rank() == 3 && x.dim(1) >= 1 && x.dim(2) == spec.in_channels &&
            (!image() || x.dim(1) == spec.length),
        "dit", "x ", x.shape(), " does not fit [B, ", image() ? std::to_string(spec.length) : "L",
        ", ", spec.in_channels, "]");
  harness::check_context(context, x, "dit", {.lengths = !image(), .labels = spec.classes > 0});
  const Tensor e = condition(context.time, context.labels, x.dim(0), "dit");
  const Tensor style = e.defined() ? silu(e) : e;
  Tensor h = patches(x, spec.height, spec.width, patch);
  if (input) h = (*input)(h);
  if (image()) h = add(h, positions);
  for (std::size_t l = 0; l < blocks.size(); ++l) {
    const auto block = [this, l, style, context](const Tensor& u) {
      return run(l, u, style, context);
    };
    h = harness::run_block(context, block, h);
  }
  const std::vector<Tensor> m = final_modulation(style, plan.width);
  return unpatch(output(modulated_norm(h, m[1], m[0])), spec.height, spec.width, patch);
}

namespace {
const harness::RegisterBackbone registered(
    {"dit",
     "transformer blocks steered by noise level and label (DiT, adaLN-zero), on patches of images "
     "or steps of sequences; not causal",
     [](const harness::BackboneSpec& spec, harness::Settings& settings, const Rng& rng) {
       return harness::AnyBackbone(Dit::make(spec, read_dit_config(settings), rng));
     }});
}  // namespace

}  // namespace kindred::transformer
