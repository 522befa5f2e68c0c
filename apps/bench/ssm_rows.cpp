// Rows s4-* and s4d-*: a state-space layer, GELU, a linear map to twice the width and a gated
// linear unit; forward and backward, the gradient of the input included. The comparison trains it
// with Adam towards a fixed target. Shapes: B batch, L positions, H width, N state size.
#include "apps/bench/gated_layer.h"
#include "apps/bench/row.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/ops/squared_error.h"
#include "optim/optimizer.h"
#include "ssm/s4_layer.h"
#include "ssm/s4d_layer.h"

namespace kindred::apps::bench {

namespace {

struct LayerSize {
  int64_t width, state, length, batch;
};

/// What the yardstick of S4 may do: choose the quickest way, or sum as the published code does.
enum class PeerForm { quickest, published };

ssm::S4dOptions options_of(const ssm::S4dLayer*, const LayerSize& size) {
  ssm::S4dOptions options;
  options.width = size.width;
  options.state = size.state;
  options.init = "lin";
  return options;
}
ssm::S4Options options_of(const ssm::S4Layer*, const LayerSize& size) {
  ssm::S4Options options;
  options.width = size.width;
  options.state = size.state;
  options.l_kernel = size.length;
  return options;
}

template <class Layer>
class LayerWork final : public Work {
 public:
  LayerWork(const LayerSize& size, PeerForm form, const WorkOptions& options) : form_(form) {
    set_gemm_precision(options.precision == "bf16" ? GemmPrecision::bf16 : GemmPrecision::f32);
    const Rng rng(1);
    model_ = GatedLayer<Layer>::make(options_of(static_cast<const Layer*>(nullptr), size), rng);
    const Shape sequence{size.batch, size.length, size.width};
    input_ = rng.split("input").normal(sequence).set_requires_grad();
    target_ = rng.split("target").normal(sequence);
    std::vector<optim::SlabEntry> entries;
    for (const nn::NamedParameter& p : nn::parameters_of(model_))
      if (p.parameter->role != nn::Role::buffer) entries.push_back({p.path, &p.parameter->value});
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
    out.setting("published_form", form_ == PeerForm::published);
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
  Tensor loss() const { return mean_squared_error(model_(input_), target_); }

  PeerForm form_;
  GatedLayer<Layer> model_;
  Tensor input_, target_;  ///< [B, L, H]
  std::unique_ptr<optim::Slab> slab_;
  std::unique_ptr<optim::Optimizer> optimizer_;
  std::vector<Tensor> wanted_;
};

template <class Layer>
Row row(const std::string& name, const std::string& summary, const std::string& peer,
        const LayerSize& size, PeerForm form = PeerForm::quickest) {
  return {name, summary, peer, [size, form](const WorkOptions& options) -> std::unique_ptr<Work> {
            return std::make_unique<LayerWork<Layer>>(size, form, options);
          }};
}

}  // namespace

std::vector<Row> ssm_rows() {
  const LayerSize short_one{128, 64, 784, 16}, long_one{128, 64, 4096, 4};
  const std::string sizes = " layer and gate, forward and backward, H 128, N 64, ";
  return {row<ssm::S4Layer>("s4-784", "S4 (DPLR)" + sizes + "L 784, batch 16", "s4.py", short_one),
          row<ssm::S4Layer>("s4-4096", "S4 (DPLR)" + sizes + "L 4096, batch 4", "s4.py", long_one),
          row<ssm::S4Layer>("s4-784-published", "s4-784, and PyTorch sums as published code does",
                            "s4.py", short_one, PeerForm::published),
          row<ssm::S4Layer>("s4-4096-published", "s4-4096, and PyTorch sums as published code does",
                            "s4.py", long_one, PeerForm::published),
          row<ssm::S4dLayer>("s4d-784", "S4D" + sizes + "L 784, batch 16", "s4d.py", short_one),
          row<ssm::S4dLayer>("s4d-4096", "S4D" + sizes + "L 4096, batch 4", "s4d.py", long_one)};
}

}  // namespace kindred::apps::bench
