// Rows s4d-*: a state-space layer, GELU, a linear map to twice the width and a gated linear unit;
// forward and backward, the gradient of the input included. The comparison trains it with Adam
// towards a fixed target. Shapes: B batch, L positions, H width, N state size.
#include "apps/bench/gated_layer.h"
#include "apps/bench/row.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/ops/reduce.h"
#include "optim/optimizer.h"

namespace kindred::apps::bench {

namespace {

struct LayerSize {
  int64_t width, state, length, batch;
};

class LayerWork final : public Work {
 public:
  LayerWork(const LayerSize& size, const WorkOptions& options) {
    set_gemm_precision(options.precision == "bf16" ? GemmPrecision::bf16 : GemmPrecision::f32);
    const Rng rng(1);
    ssm::S4dOptions layer;
    layer.width = size.width;
    layer.state = size.state;
    layer.init = "lin";
    model_ = GatedLayer::make(layer, rng);
    const Shape sequence{size.batch, size.length, size.width};
    input_ = rng.split("input").normal(sequence).set_requires_grad();
    target_ = rng.split("target").normal(sequence);
    std::vector<optim::SlabEntry> entries;
    for (const nn::NamedParameter& p : nn::parameters_of(model_))
      entries.push_back({p.path, &p.parameter->value});
    slab_ = std::make_unique<optim::Slab>(entries);
    optimizer_ = optim::make_optimizer("adam");
    optimizer_->attach(*slab_);
    wanted_ = slab_->parameters();
    wanted_.push_back(input_);
  }
  void share(Exchange& out) override {
    out.parameters(nn::parameters_of(model_));
    out.tensor("input", input_);
    out.tensor("target", target_);
    out.setting("width", input_.dim(2));
    out.setting("lr", kLr);
    for (const auto& option : optimizer_->options())
      if (const auto* value = std::get_if<double*>(&option.value))
        out.setting(option.name, **value);
  }
  double checked_step() override {
    const Tensor error = loss();
    optimizer_->step(*slab_, grad(error, slab_->parameters()), kLr);
    return error.item();
  }
  void step() override { grad(loss(), wanted_); }

 private:
  static constexpr double kLr = 1e-3;
  Tensor loss() const { return mean(square(model_(input_) - target_)); }

  GatedLayer model_;
  Tensor input_, target_;  ///< [B, L, H]
  std::unique_ptr<optim::Slab> slab_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::vector<Tensor> wanted_;
};

Row row(const std::string& name, const std::string& summary, const LayerSize& size) {
  return {name, summary, "s4d.py", [size](const WorkOptions& options) -> std::unique_ptr<Work> {
            return std::make_unique<LayerWork>(size, options);
          }};
}

}  // namespace

std::vector<Row> ssm_rows() {
  return {row("s4d-784", "S4D layer and gate, forward and backward, H 128, N 64, L 784, batch 16",
              {128, 64, 784, 16}),
          row("s4d-4096", "S4D layer and gate, forward and backward, H 128, N 64, L 4096, batch 4",
              {128, 64, 4096, 4})};
}

}  // namespace kindred::apps::bench
