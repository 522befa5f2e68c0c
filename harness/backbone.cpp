// The registry of backbones. Entries arrive before main() from the backbones' own files.
#include "harness/backbone.h"

#include <iostream>
#include <utility>

#include "autodiff/graph.h"
#include "harness/registry.h"

namespace kindred::harness {
namespace {
std::vector<BackboneEntry>& table() {
  static std::vector<BackboneEntry> entries;
  return entries;
}
}  // namespace

void check_context(const Context& c, const Tensor& x, const char* backbone, Abilities can) {
  check(can.rate || c.rate == 1, backbone, "cannot change the step of time (rate ", c.rate,
        "); s4, s4d, lssl and s5 can");
  check(c.rate > 0, backbone, "rate ", c.rate, " is not above 0");
  check(can.state || c.state == nullptr, backbone,
        "carries no state from one stretch of a sequence to the next; causal s4, s4d, lssl, s5, "
        "mamba, lstm and gru do");
  const int64_t B = x.dim(0), L = x.dim(1);
  if (c.labels.defined()) {
    check(can.labels, backbone, "takes no class labels");
    check(c.labels.dtype() == DType::i32 && c.labels.shape() == Shape{B}, backbone,
          "wants labels i32 [", B, "], got ", name(c.labels.dtype()), ' ', c.labels.shape());
  }
  if (!c.lengths.defined()) return;
  check(can.lengths, backbone, "takes no lengths: rows must be full");
  check(c.state == nullptr, backbone,
        "passes no state on from padded rows: give either lengths or a state");
  check(c.lengths.dtype() == DType::i32 && c.lengths.shape() == Shape{B}, backbone,
        "wants lengths i32 [", B, "], got ", name(c.lengths.dtype()), ' ', c.lengths.shape());
  for (int64_t b = 0; b < B; ++b)
    check(c.lengths.data<int32_t>()[b] >= 1 && c.lengths.data<int32_t>()[b] <= L, backbone,
          "length ", c.lengths.data<int32_t>()[b], " of row ", b, " is not within 1..", L);
}

void note_kinks(const BackboneSpec& spec, const std::string& activation, const char* key) {
  if (!spec.smooth || activation != "relu") return;
  static bool said = false;
  if (std::exchange(said, true)) return;
  std::cerr << "kindred: " << key
            << " = relu has no second derivative, and this loss is made of such: it will learn "
               "little; choose a smooth one\n";
}

Tensor valid_steps(const Tensor& lengths, int64_t L, DType dtype) {
  const int64_t B = lengths.dim(0);
  Tensor mask = Tensor::empty({B, L, 1}, dtype);
  dispatch_float(dtype, [&]<class T>(T) {
    for (int64_t b = 0; b < B; ++b)
      for (int64_t t = 0; t < L; ++t)
        mask.mutable_data<T>()[b * L + t] = t < lengths.data<int32_t>()[b] ? T(1) : T(0);
  });
  return mask;
}

namespace {
class StateStepper final : public Stepper {
 public:
  using Forward = std::function<Tensor(const Tensor&, const Context&)>;
  StateStepper(std::string name, int64_t batch, Forward forward)
      : name_(std::move(name)), batch_(batch), forward_(std::move(forward)) {}
  Tensor prefill(const Tensor& x) override {
    check(x.rank() == 3 && x.dim(0) == batch_, name_, "stepping ", batch_, " sequences, got ",
          x.shape());
    const NoGrad off;
    Context context;
    context.state = &state_;
    const Tensor y = forward_(x, context);
    position_ += x.dim(1);
    return y;
  }
  int64_t position() const override { return position_; }

 private:
  std::string name_;
  int64_t batch_, position_ = 0;
  Forward forward_;
  State state_;
};
}  // namespace

std::unique_ptr<Stepper> state_stepper(
    std::string name, int64_t batch, std::function<Tensor(const Tensor&, const Context&)> forward) {
  return std::make_unique<StateStepper>(std::move(name), batch, std::move(forward));
}

void register_backbone(BackboneEntry entry) { add_entry(table(), std::move(entry), "backbone"); }
const BackboneEntry& find_backbone(const std::string& name) {
  return find_entry(table(), name, "backbone");
}
const std::vector<BackboneEntry>& backbones() { return table(); }

}  // namespace kindred::harness
