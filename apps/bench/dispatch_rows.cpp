// Rows dispatch and dispatch-grad: a chain of operations on 16 numbers each, where nearly all of
// the time is the way to the kernel: shape check, allocation, graph. The milliseconds of a step are
// the microseconds of an operation.
#include "apps/bench/row.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/rng.h"

namespace kindred::apps::bench {

namespace {

constexpr int64_t kNumbers = 16, kCalls = 1000;

class ChainWork final : public Work {
 public:
  explicit ChainWork(bool backward) : backward_(backward) {
    const Rng rng(1);
    input_ = rng.split("input").normal({kBatches, kNumbers});
    // Near 1: a thousand factors of it stay in range.
    factor_ = add_scalar(scale(rng.split("factor").normal({kNumbers}), 1e-4), 1);
  }
  void share(Exchange& out) override {
    out.tensor("input", input_);
    out.tensor("factor", factor_);
    out.setting("calls", kCalls);
    out.setting("backward", backward_ ? 1 : 0);
  }
  double checked_step() override { return sum(chain(done_++ % kBatches)).item(); }
  void step() override { chain(0); }

 private:
  /// Factors multiplied one after another, or the derivative of that with respect to the input.
  Tensor chain(int64_t batch) const {
    Tensor x = Tensor::view(input_, batch * kNumbers, {kNumbers});
    if (backward_) x.set_requires_grad();
    Tensor y = x;
    for (int64_t i = 0; i < kCalls; ++i) y = mul(y, factor_);
    return backward_ ? grad(y, std::span(&x, 1), x.detach())[0] : y;
  }

  bool backward_;
  Tensor input_, factor_;
  int64_t done_ = 0;
};

Row row(const std::string& name, const std::string& summary, bool backward) {
  return {name, summary, "dispatch.py", [backward](const WorkOptions&) -> std::unique_ptr<Work> {
            return std::make_unique<ChainWork>(backward);
          }};
}

}  // namespace

std::vector<Row> dispatch_rows() {
  return {row("dispatch", "1000 products of 16 numbers each, one after another, no graph", false),
          row("dispatch-grad", "the same with a graph, and backward through it", true)};
}

}  // namespace kindred::apps::bench
