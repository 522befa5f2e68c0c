// Construction, forward pass and stepper of the stacks, and their registration.
#include "ssm/stack.h"

#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/glu.h"
#include "autodiff/ops/layout.h"
#include "ssm/lssl_layer.h"
#include "ssm/s4_stepping.h"
#include "ssm/s4d_layer.h"
#include "ssm/s5_layer.h"

namespace kindred::ssm {

namespace {

template <class Layer>
class LayerSteps final : public harness::Stepper {
 public:
  LayerSteps(const Stack<Layer>& stack, int64_t batch) : stack_(stack), batch_(batch) {
    for (const Block<Layer>& b : stack.blocks) layers_.push_back(b.layer.stepping(batch));
  }
  Tensor prefill(const Tensor& x) override {
    check(x.rank() == 3 && x.dim(0) == batch_, "ssm", "a stepper of ", batch_, " sequences got ",
          x.shape());
    const NoGrad off;
    const harness::Context context;
    Tensor h = stack_.frame.embed(x, {});
    for (std::size_t i = 0; i < layers_.size(); ++i)
      h = stack_.run(i, h, {}, context, [&](const Tensor& u) { return layers_[i].advance(u); });
    position_ += x.dim(1);
    return stack_.frame.finish(h);
  }
  int64_t position() const override { return position_; }

 private:
  const Stack<Layer>& stack_;
  std::vector<typename Layer::Stepping> layers_;
  int64_t batch_, position_ = 0;
};

}  // namespace

template <class Layer>
Stack<Layer> Stack<Layer>::make(const std::string& name, const harness::BackboneSpec& spec,
                                const StackConfig& c, typename Layer::Options options,
                                const Rng& rng, DType dtype) {
  check(c.layers >= 0, "model.layers", c.layers, " blocks");
  check(c.ffn_mult >= 0, "model.ffn_mult", c.ffn_mult);
  check(c.dropout >= 0 && c.dropout < 1, "model.dropout", c.dropout, " is not in [0, 1)");
  const nn::NormKind norm = nn::parse_norm(c.norm, "model.norm");
  const int64_t C = c.width;

  Stack m;
  m.gated = choose<bool>(c.mix, {{"glu", true}, {"linear", false}}, "model.mix");
  m.post_norm = choose<bool>(c.norm_place, {{"pre", false}, {"post", true}}, "model.norm_place");
  m.dropout = c.dropout;
  m.frame = Frame::make(name, spec, C, m.post_norm ? std::nullopt : std::optional(norm),
                        parse_film(c.conditioning) ? c.layers : 0, rng, dtype);
  if constexpr (requires { options.l_kernel; })
    if (options.l_kernel == 0) options.l_kernel = spec.stretch;
  options.fit(C, spec.length, !spec.causal);
  for (int64_t i = 0; i < c.layers; ++i) {
    const Rng r = rng.split("blocks").split(static_cast<uint64_t>(i));
    Block<Layer> b{nn::Norm::make(C, norm, dtype),
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
  return m;
}

template <class Layer>
Tensor Stack<Layer>::drop(const Tensor& x, const harness::Context& context, std::size_t block,
                          const char* site) const {
  if (!context.training || dropout == 0) return x;
  const Rng rng = context.dropout.split(block).split(site);
  return mul(x, rng.dropout_mask({x.dim(0), 1, x.dim(2)}, dropout, x.dtype()));
}

template <class Layer>
Tensor Stack<Layer>::mix(std::size_t block, const Tensor& y,
                         const harness::Context& context) const {
  const Tensor z = blocks[block].mix(drop(gelu_erf(y), context, block, "state"));
  return drop(gated ? glu(z) : z, context, block, "mix");
}

template <class Layer>
Tensor Stack<Layer>::feed_forward(std::size_t block, const Tensor& x,
                                  const harness::Context& context) const {
  const Block<Layer>& b = blocks[block];
  const Tensor branch = (*b.ffn)(post_norm ? x : (*b.ffn_norm)(x));
  const Tensor sum = x + drop(branch, context, block, "ffn");
  return post_norm ? (*b.ffn_norm)(sum) : sum;
}

template <class Layer>
Tensor Stack<Layer>::forward(const Tensor& x, const harness::Context& context) const {
  harness::check_context(context, x, frame.name.c_str(),
                         {.lengths = true,
                          .rate = true,
                          .state = frame.spec.causal,
                          .labels = frame.spec.classes > 0});
  const Tensor e = frame.told(context, x.dim(0));
  Tensor h = frame.embed(x, e);
  harness::State* state = context.state;
  check(!state || state->empty() || state->size() == blocks.size(), frame.name, "a state of ",
        state ? state->size() : 0, " layers for ", blocks.size());
  Tensor mask;
  if (context.lengths.defined()) mask = harness::valid_steps(context.lengths, x.dim(1), h.dtype());
  harness::State after;
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    // Shared, as a recomputed block runs once more when this function has returned.
    const auto passed_on = std::make_shared<Tensor>();
    const Tensor before = state && !state->empty() ? (*state)[i] : Tensor();
    const auto block = [this, i, e, context, mask, before, passed_on](const Tensor& x_i) {
      return run(i, x_i, e, context, [&](const Tensor& u) {
        if (!context.state) return blocks[i].layer(mask.defined() ? mul(u, mask) : u, context.rate);
        const Passed passed = blocks[i].layer.pass(u, before, context.rate);
        *passed_on = passed.after;
        return passed.y;
      });
    };
    h = harness::run_block(context, block, h);
    if (state) after.push_back(*passed_on);
  }
  if (state) *state = std::move(after);
  return frame.finish(h);
}

template <class Layer>
std::unique_ptr<harness::Stepper> Stack<Layer>::stepper(int64_t batch) const {
  // A stepper has no way to be told the time of a diffusion or a label.
  if (!frame.spec.causal || !frame.condition.empty()) return nullptr;
  for (const nn::NamedParameter& p : nn::parameters_of(const_cast<Stack&>(*this)))
    check_finite(p.path, p.parameter->value);
  return std::make_unique<LayerSteps<Layer>>(*this, batch);
}

template struct Stack<LsslLayer>;
template struct Stack<S4Layer>;
template struct Stack<S4dLayer>;
template struct Stack<S5Layer>;

namespace {
const harness::RegisterBackbone lssl(
    stack_entry<LsslLayer>("lssl",
                           "blocks of dense state-space layers (LSSL), the reference of s4: "
                           "state size times its work and memory"));
const harness::RegisterBackbone s4(stack_entry<S4Layer>(
    "s4",
    "state-space blocks (S4: HiPPO matrices in diagonal plus low-rank form) with gated "
    "channel mixing on a residual stream"));
const harness::RegisterBackbone s4d(stack_entry<S4dLayer>(
    "s4d", "diagonal state-space blocks (S4D) with gated channel mixing on a residual stream"));
const harness::RegisterBackbone s5(stack_entry<S5Layer>(
    "s5", "blocks of one diagonal state space for all channels (S5), run by a scan over time"));
}  // namespace

}  // namespace kindred::ssm
