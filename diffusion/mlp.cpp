#include "diffusion/mlp.h"

#include "autodiff/choice.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "harness/config.h"

namespace kindred::diffusion {

namespace {

enum class Conditioning { concat, film };

Tensor activate(const Tensor& x, MlpActivation activation) {
  switch (activation) {
    case MlpActivation::silu:
      return silu(x);
    case MlpActivation::softplus:
      return softplus(x);
    case MlpActivation::relu:
      return relu(x);
  }
  fail(Fault::usage, "mlp", "unknown activation");
}

}  // namespace

MlpBackbone MlpBackbone::make(const harness::BackboneSpec& spec, const MlpConfig& config,
                              const Rng& rng) {
  check(!spec.causal, "mlp",
        "every output of the mlp backbone sees every input, but this objective needs a causal "
        "backbone; "
        "use the objective gaussian, or the backbones attention or s4d");
  check(config.width > 0 && config.depth > 0, "mlp", "width ", config.width, ", depth ",
        config.depth, "; both must be positive");
  MlpBackbone net;
  net.spec = spec;
  net.activation = choose<MlpActivation>(config.activation,
                                         {{"silu", MlpActivation::silu},
                                          {"softplus", MlpActivation::softplus},
                                          {"relu", MlpActivation::relu}},
                                         "model.activation");
  harness::note_kinks(spec, config.activation, "model.activation");
  const auto conditioning = choose<Conditioning>(
      config.conditioning, {{"concat", Conditioning::concat}, {"film", Conditioning::film}},
      "model.conditioning");
  net.condition =
      nn::Condition::make(config.time_width, config.time_scale, spec.time, spec.classes, rng);
  const bool conditioned = !net.condition.empty();
  const bool film = conditioned && conditioning == Conditioning::film;
  int64_t in = spec.length * spec.in_channels + (conditioned && !film ? config.time_width : 0);
  for (int64_t k = 0; k < config.depth; ++k) {
    net.hidden.push_back(
        nn::Linear::make_uniform(in, config.width, true, rng.split("hidden").split(k)));
    if (film)
      net.film.push_back(nn::Linear::make(config.time_width, 2 * config.width, true,
                                          rng.split("film").split(k), 0));
    in = config.width;
  }
  net.output = nn::Linear::make(in, spec.length * spec.out_channels, true, rng.split("output"), 0);
  return net;
}

Tensor MlpBackbone::forward(const Tensor& x, const harness::Context& context) const {
  check(x.rank() == 3 && x.dim(1) == spec.length && x.dim(2) == spec.in_channels, "mlp", "x ",
        x.shape(), " does not fit [B, ", spec.length, ", ", spec.in_channels, "]");
  harness::check_context(context, x, "mlp", {.labels = spec.classes > 0});
  Tensor h = reshape(x, {x.dim(0), spec.length * spec.in_channels});
  const Tensor e = condition(context.time, context.labels, x.dim(0), "mlp");
  if (e.defined() && film.empty()) h = concat({h, e}, -1);
  const Tensor style = film.empty() ? Tensor() : silu(e);
  for (std::size_t k = 0; k < hidden.size(); ++k) {
    h = hidden[k](h);
    if (!film.empty()) {
      const Tensor modulation = film[k](style);
      const int64_t width = h.dim(1);
      h = add(mul(h, add_scalar(slice(modulation, 1, 0, width), 1)),
              slice(modulation, 1, width, width));
    }
    h = activate(h, activation);
  }
  return reshape(output(h), {x.dim(0), spec.length, spec.out_channels});
}

namespace {
const harness::RegisterBackbone registered(
    {"mlp", "fully connected network on the whole element as one vector; not causal",
     [](const harness::BackboneSpec& spec, harness::Settings& settings, const Rng& rng) {
       MlpConfig config;
       settings.read("model", config);
       return harness::AnyBackbone(MlpBackbone::make(spec, config, rng));
     }});
}  // namespace

}  // namespace kindred::diffusion
