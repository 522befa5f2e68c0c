// Construction and forward pass of the attention backbone, and its registration.
#include "transformer/backbone.h"

#include <cmath>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "nn/dropout.h"
#include "transformer/cache.h"

namespace kindred::transformer {

Tensor sinusoids(int64_t offset, int64_t L, int64_t C, DType dtype) {
  const int64_t half = C / 2;
  Tensor result = Tensor::zeros({L, C}, dtype);
  dispatch_float(dtype, [&](auto zero) {
    using T = decltype(zero);
    T* out = result.mutable_data<T>();
    for (int64_t i = 0; i < L; ++i)
      for (int64_t k = 0; k < half; ++k) {
        const double angle =
            static_cast<double>(offset + i) /
            std::pow(10000.0, 2.0 * static_cast<double>(k) / static_cast<double>(C));
        out[i * C + k] = static_cast<T>(std::sin(angle));
        out[i * C + half + k] = static_cast<T>(std::cos(angle));
      }
  });
  return result;
}

Backbone Backbone::make(const harness::BackboneSpec& spec, const Config& config, const Rng& rng,
                        DType dtype) {
  check(spec.in_channels >= 1 && spec.out_channels >= 1 && spec.length >= 1, "attention",
        "wants in_channels, out_channels and length of at least 1, got ", spec.in_channels, ", ",
        spec.out_channels, ", ", spec.length);
  Backbone m{spec, transformer::plan(config), {}, {}, {}, {}, {}, {}, {}};
  const Plan& p = m.plan;
  harness::note_kinks(spec, p.ffn == nn::Activation::relu ? "relu" : "", "model.ffn");
  const int64_t C = p.width;
  const double branch = p.layers > 0 ? kStd / std::sqrt(2.0 * static_cast<double>(p.layers)) : kStd;
  if (spec.in_channels != C)
    m.input = nn::Linear::make(spec.in_channels, C, p.bias, rng.split("input"), kStd, dtype);
  m.condition = nn::Condition::make(C, 1, spec.time, spec.classes, rng, dtype);
  if (p.positions == Positions::learned)
    m.positions =
        nn::normal({spec.length, C}, kStd, rng.split("positions"), nn::Role::embedding, dtype);
  if (p.positions == Positions::sin) m.sinusoid_table = sinusoids(0, spec.length, C, dtype);
  for (int64_t l = 0; l < p.layers; ++l) {
    const Rng r = rng.split("blocks").split(static_cast<uint64_t>(l));
    m.blocks.push_back(
        {nn::Norm::make(C, p.norm, dtype), SelfAttention::make(p, kStd, branch, r, dtype),
         nn::Norm::make(C, p.norm, dtype),
         nn::Mlp::make({C, p.hidden, p.ffn, p.bias, kStd, branch}, r.split("ffn"), dtype)});
  }
  if (p.norm_place == NormPlace::pre) m.final_norm = nn::Norm::make(C, p.norm, dtype);
  if (spec.out_channels != C)
    m.output = nn::Linear::make(C, spec.out_channels, p.bias, rng.split("output"), kStd, dtype);
  return m;
}

Tensor Backbone::fixed_positions(int64_t offset, int64_t L, DType dtype) const {
  if (offset + L <= spec.length && dtype == sinusoid_table.dtype())
    return Tensor::view(sinusoid_table, offset * plan.width, {L, plan.width});
  return sinusoids(offset, L, plan.width, dtype);
}

Tensor Backbone::embed(const Tensor& x, int64_t offset, const harness::Context& context) const {
  check(x.rank() == 3 && x.dim(2) == spec.in_channels, "attention", "wants x [B, L, ",
        spec.in_channels, "], got ", x.shape());
  const int64_t B = x.dim(0), L = x.dim(1), C = plan.width;
  Tensor h = input ? (*input)(x) : x;
  if (plan.positions == Positions::learned) {
    check(offset + L <= spec.length, "attention", "positions ", offset, " to ", offset + L - 1,
          " reach past the learned table of ", spec.length,
          "; restart the window, or train with model.pos = rope, sin or none");
    h = h + slice(positions->value, 0, offset, L);
  } else if (plan.positions == Positions::sin) {
    // Embeddings are scaled up to the size of the sinusoids (Vaswani et al. 2017, section 3.4).
    h = scale(h, std::sqrt(static_cast<double>(C))) + fixed_positions(offset, L, h.dtype());
  }
  if (!condition.empty())
    h = h + reshape(condition(context.time, context.labels, B, "attention"), {B, 1, C});
  if (context.training && plan.p_emb > 0)
    h = nn::dropout(h, plan.p_emb, context.dropout.split("embedding"), true);
  return h;
}

Tensor Backbone::finish(const Tensor& x) const {
  const Tensor h = final_norm ? (*final_norm)(x) : x;
  return output ? (*output)(h) : h;
}

Tensor Backbone::forward(const Tensor& x, const harness::Context& context) const {
  harness::check_context(context, x, "attention", {.lengths = true, .labels = spec.classes > 0});
  Tensor h = embed(x, 0, context);
  for (std::size_t l = 0; l < blocks.size(); ++l) {
    const auto block = [this, l, context](const Tensor& u) {
      return run(l, u, 0, context,
                 [&](const Tensor& qkv) { return attend(plan, qkv, spec.causal, context, l); });
    };
    h = harness::run_block(context, block, h);
  }
  return finish(h);
}

std::unique_ptr<harness::Stepper> Backbone::stepper(int64_t batch) const {
  if (!spec.causal) return nullptr;
  return std::make_unique<CachedStepper>(*this, batch);
}

namespace {
const harness::RegisterBackbone registered({
    "attention",
    "transformer blocks: softmax attention and feed-forward layers on a residual stream",
    [](const harness::BackboneSpec& spec, harness::Settings& settings, const Rng& rng) {
      return harness::AnyBackbone(Backbone::make(spec, read_config(settings), rng));
    },
    ar_defaults,
});
}  // namespace

}  // namespace kindred::transformer
