// Forward pass, stepper and registration of the mamba backbone.
#include "ssm/mamba.h"

#include "autodiff/ops/elementwise.h"
#include "harness/config.h"
#include "ssm/layer.h"

namespace kindred::ssm {

namespace {
constexpr double kNormEps = 1e-5;  // of every norm in the published models
}  // namespace

Mamba Mamba::make(const harness::BackboneSpec& spec, const MambaConfig& c, const Rng& rng,
                  DType dtype) {
  check(c.layers >= 0, "model.layers", c.layers, " blocks");
  check(c.dropout >= 0 && c.dropout < 1, "model.dropout", c.dropout, " is not in [0, 1)");
  MambaOptions options = c.layer;
  options.bidirectional = !spec.causal;
  options.layers = c.layers;

  Mamba m;
  m.frame = Frame::make("mamba", spec, options.width, nn::NormKind::rms,
                        parse_film(c.conditioning) ? c.layers : 0, rng, dtype);
  m.frame.final_norm->eps = kNormEps;
  m.dropout = c.dropout;
  for (int64_t i = 0; i < c.layers; ++i) {
    const Rng r = rng.split("blocks").split(static_cast<uint64_t>(i));
    m.blocks.push_back({nn::Norm::make(options.width, nn::NormKind::rms, dtype, kNormEps),
                        MambaLayer::make(options, r.split("layer"), dtype)});
  }
  return m;
}

Tensor Mamba::drop(const Tensor& y, const harness::Context& context, std::size_t block) const {
  if (!context.training || dropout == 0) return y;
  const Rng rng = context.dropout.split(block);
  return y * rng.dropout_mask({y.dim(0), 1, y.dim(2)}, dropout, y.dtype());
}

Tensor Mamba::forward(const Tensor& x, const harness::Context& context) const {
  harness::check_context(
      context, x, "mamba",
      {.lengths = true, .state = frame.spec.causal, .labels = frame.spec.classes > 0});
  harness::State* state = context.state;
  check(!state || state->empty() || state->size() == blocks.size(), "mamba", "has ", blocks.size(),
        " layers, got states of ", state ? state->size() : 0);
  if (state) state->resize(blocks.size());
  const Tensor mask = context.lengths.defined()
                          ? harness::valid_steps(context.lengths, x.dim(1), x.dtype())
                          : Tensor();
  const Tensor e = frame.told(context, x.dim(0));
  Tensor h = frame.embed(x, e);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (state) {  // kept, not recomputed: the state is a second result
      const auto [y, after] =
          blocks[i].layer.continued(frame.normed(i, blocks[i].norm, h, e), (*state)[i]);
      h = h + drop(y, context, i);
      (*state)[i] = after;
      continue;
    }
    const auto block = [this, i, e, context, mask](const Tensor& u) {
      return u + drop(blocks[i].layer(frame.normed(i, blocks[i].norm, u, e), mask), context, i);
    };
    h = harness::run_block(context, block, h);
  }
  return frame.finish(h);
}

std::unique_ptr<harness::Stepper> Mamba::stepper(int64_t batch) const {
  // A stepper has no way to be told the time of a diffusion or a label.
  if (!frame.spec.causal || !frame.condition.empty()) return nullptr;
  for (const nn::NamedParameter& p : nn::parameters_of(const_cast<Mamba&>(*this)))
    check_finite(p.path, p.parameter->value);
  return harness::state_stepper(
      "mamba", batch,
      [this](const Tensor& x, const harness::Context& context) { return forward(x, context); });
}

namespace {
const harness::RegisterBackbone registered({
    "mamba",
    "selective state-space blocks (Mamba) on a residual stream, in both directions if not causal",
    [](const harness::BackboneSpec& spec, harness::Settings& settings, const Rng& rng) {
      MambaConfig config;
      settings.read("model", config);
      return harness::AnyBackbone(Mamba::make(spec, config, rng));
    },
});
}  // namespace

}  // namespace kindred::ssm
