// Construction, forward pass and stepper of the s4d backbone, and its registration.
#include "ssm/backbone.h"

#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/glu.h"
#include "autodiff/ops/layout.h"
#include "harness/config.h"
#include "ssm/recurrence.h"

namespace kindred::ssm {

namespace {

constexpr int64_t kTimeFeatures = 64;
constexpr double kTimeScale = 16;  ///< of the random frequencies, as in score_sde and EDM

nn::Linear linear_map(int64_t in, int64_t out, const Rng& rng, DType dtype) {
  return nn::Linear::make(in, out, true, rng, 1 / std::sqrt(static_cast<double>(in)), dtype);
}

class RecurrentStepper final : public harness::Stepper {
 public:
  RecurrentStepper(const Backbone& backbone, int64_t batch) : backbone_(backbone) {
    for (const Block& b : backbone.blocks) layers_.emplace_back(b.layer, batch);
  }
  Tensor prefill(const Tensor& x) override {
    const NoGrad off;
    const harness::Context context;
    Tensor h = backbone_.embed(x, context);
    for (std::size_t i = 0; i < layers_.size(); ++i)
      h = backbone_.run(i, h, context, [&](const Tensor& u) { return layers_[i].advance(u); });
    position_ += x.dim(1);
    return backbone_.finish(h);
  }
  int64_t position() const override { return position_; }

 private:
  const Backbone& backbone_;
  std::vector<Recurrence> layers_;
  int64_t position_ = 0;
};

}  // namespace

Backbone Backbone::make(const harness::BackboneSpec& spec, const Config& c, const Rng& rng,
                        DType dtype) {
  check(spec.in_channels >= 1 && spec.out_channels >= 1, "s4d",
        "wants in_channels and out_channels, got ", spec.in_channels, " and ", spec.out_channels);
  check(c.layers >= 0, "model.layers", c.layers, " blocks");
  check(c.width >= 1, "model.width", c.width, " channels");
  check(c.state > 0 && c.state % 2 == 0, "model.state", c.state,
        " is not a positive even number: modes are stored as conjugate pairs");
  check(c.ffn_mult >= 0, "model.ffn_mult", c.ffn_mult);
  check(c.dropout >= 0 && c.dropout < 1, "model.dropout", c.dropout, " is not in [0, 1)");
  check(c.dt_min > 0 && c.dt_min <= c.dt_max, "model.dt_min", c.dt_min, " and model.dt_max ",
        c.dt_max, " need 0 < dt_min <= dt_max");
  LayerOptions options{c.width,  c.state,     parse_init(c.init, "model.init"), {}, c.dt_min,
                       c.dt_max, !spec.causal};
  options.rule = choose<Discretisation>(
      c.disc, {{"zoh", Discretisation::zoh}, {"bilinear", Discretisation::bilinear}}, "model.disc");
  const nn::NormKind norm = nn::parse_norm(c.norm, "model.norm");
  const int64_t C = c.width;

  Backbone m;
  m.spec = spec;
  m.width = C;
  m.gated = choose<bool>(c.mix, {{"glu", true}, {"linear", false}}, "model.mix");
  m.dropout = c.dropout;
  if (spec.in_channels != C) m.input = linear_map(spec.in_channels, C, rng.split("input"), dtype);
  if (spec.time) {
    m.time = nn::TimeEmbedding::make(kTimeFeatures, kTimeScale, rng.split("time"), dtype);
    m.time_projection = linear_map(kTimeFeatures, C, rng.split("time_projection"), dtype);
  }
  for (int64_t i = 0; i < c.layers; ++i) {
    const Rng r = rng.split("blocks").split(static_cast<uint64_t>(i));
    Block b{nn::Norm::make(C, norm, dtype),
            Layer::make(options, r.split("layer"), dtype),
            linear_map(C, m.gated ? 2 * C : C, r.split("mix"), dtype),
            {},
            {}};
    if (c.ffn_mult > 0) {
      const auto hidden = std::max<int64_t>(1, std::lround(c.ffn_mult * static_cast<double>(C)));
      b.ffn_norm = nn::Norm::make(C, norm, dtype);
      b.ffn = nn::Mlp::make(
          {C, hidden, nn::Activation::gelu_erf, true, 1 / std::sqrt(static_cast<double>(C)),
           1 / std::sqrt(static_cast<double>(hidden))},
          r.split("ffn"), dtype);
    }
    m.blocks.push_back(std::move(b));
  }
  m.final_norm = nn::Norm::make(C, norm, dtype);
  if (spec.out_channels != C)
    m.output = linear_map(C, spec.out_channels, rng.split("output"), dtype);
  return m;
}

Tensor Backbone::drop(const Tensor& x, const harness::Context& context, std::size_t block,
                      const char* site) const {
  if (!context.training || dropout == 0) return x;
  const Rng rng = context.dropout.split(block).split(site);
  return mul(x, rng.dropout_mask({x.dim(0), 1, x.dim(2)}, dropout, x.dtype()));
}

Tensor Backbone::mix(std::size_t block, const Tensor& y, const harness::Context& context) const {
  const Tensor z = blocks[block].mix(drop(gelu_erf(y), context, block, "state"));
  return drop(gated ? glu(z) : z, context, block, "mix");
}

Tensor Backbone::feed_forward(std::size_t block, const Tensor& x,
                              const harness::Context& context) const {
  const Block& b = blocks[block];
  return x + drop((*b.ffn)((*b.ffn_norm)(x)), context, block, "ffn");
}

Tensor Backbone::embed(const Tensor& x, const harness::Context& context) const {
  check(x.rank() == 3 && x.dim(2) == spec.in_channels, "s4d", "wants x [B, L, ", spec.in_channels,
        "], got ", x.shape());
  Tensor h = input ? (*input)(x) : x;
  if (time) {
    check(context.time.defined() && context.time.numel() == x.dim(0), "s4d",
          "was built with a time input and needs one value for each of ", x.dim(0), " sequences");
    h = h + reshape((*time_projection)((*time)(context.time)), {x.dim(0), 1, width});
  }
  return h;
}

Tensor Backbone::finish(const Tensor& x) const {
  const Tensor h = final_norm(x);
  return output ? (*output)(h) : h;
}

Tensor Backbone::forward(const Tensor& x, const harness::Context& context) const {
  Tensor h = embed(x, context);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const auto block = [this, i, context](const Tensor& x_i) {
      return run(i, x_i, context, [&](const Tensor& u) { return blocks[i].layer(u); });
    };
    h = harness::run_block(context, block, h);
  }
  return finish(h);
}

std::unique_ptr<harness::Stepper> Backbone::stepper(int64_t batch) const {
  // A stepper has no way to be told the time of a diffusion.
  if (!spec.causal || time) return nullptr;
  return std::make_unique<RecurrentStepper>(*this, batch);
}

namespace {
const harness::RegisterBackbone registered({
    "s4d",
    "diagonal state-space blocks (S4D) with gated channel mixing on a residual stream",
    [](const harness::BackboneSpec& spec, harness::Settings& settings, const Rng& rng) {
      Config config;
      settings.read("model", config);
      return harness::AnyBackbone(Backbone::make(spec, config, rng));
    },
});
}  // namespace

}  // namespace kindred::ssm
