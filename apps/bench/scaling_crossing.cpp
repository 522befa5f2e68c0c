// From which length on S4D is faster than attention: the two layers that mix along the sequence,
// each with the linear maps it is used with. What may surround them (norms, feed-forward) costs the
// same with either, so it would not move the crossing. B batch, L length, C width, B L constant.

#include "apps/bench/fit.h"
#include "apps/bench/gated_layer.h"
#include "apps/bench/scaling.h"
#include "apps/bench/step_time.h"
#include "autodiff/graph.h"
#include "autodiff/ops/attention.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/pool.h"
#include "harness/json.h"
#include "nn/linear.h"
#include "ssm/s4d_layer.h"

namespace kindred::apps::bench {

namespace {
using nlohmann::json;
constexpr int64_t kWidth = 128, kHeads = 2, kState = 64;
constexpr int64_t kSymbols = 16384, kQuickSymbols = 1024;
constexpr double kBudget = 0.6;  // seconds of timed steps a length, unless three turns take longer

struct AttentionLayer {
  nn::Linear qkv, out;
  Tensor operator()(const Tensor& x) const { return out(attention_qkv(qkv(x), kHeads, kHeads)); }

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("qkv", self.qkv);
    visit("out", self.out);
  }
};

/// Forward and backward of a layer on x [B, L, C], the gradient of x included.
template <class Layer>
std::function<void()> make_step(Layer layer, const Tensor& x, const Tensor& seed) {
  auto model = std::make_shared<Layer>(std::move(layer));
  std::vector<Tensor> wanted{x};
  for (const nn::NamedParameter& p : nn::parameters_of(*model))
    wanted.push_back(p.parameter->value);
  return [model, x, seed, wanted] { grad((*model)(x), wanted, seed); };
}

std::vector<std::function<void()>> make_layers(int64_t length, int64_t batch) {
  const Rng rng(1);
  const Shape shape{batch, length, kWidth};
  const Tensor x = rng.split("input").normal(shape).set_requires_grad();
  const Tensor seed = rng.split("seed").normal(shape);
  ssm::S4dOptions options;
  options.width = kWidth;
  options.state = kState;
  return {make_step(AttentionLayer{nn::Linear::make(kWidth, 3 * kWidth, true, rng.split("qkv")),
                                   nn::Linear::make(kWidth, kWidth, true, rng.split("out"))},
                    x, seed),
          make_step(GatedLayer<ssm::S4dLayer>::make(options, rng), x, seed)};
}
}  // namespace

json measure_crossing(const ScalingOptions& options) {
  set_gemm_precision(options.work.precision == "bf16" ? GemmPrecision::bf16 : GemmPrecision::f32);
  const int64_t symbols = options.quick ? kQuickSymbols : kSymbols;
  json points = json::array();
  json result = {{"width", kWidth}, {"heads", kHeads}, {"state", kState}, {"symbols", symbols}};
  std::vector<double> lengths, attention, s4d;
  for (const int64_t length : chosen_sizes(crossing_lengths(), options.quick)) {
    // Attention takes at most twice the time at twice the length, as symbols are constant.
    if (!attention.empty() &&
        2e-3 * std::max(attention.back(), s4d.back()) > options.point_seconds) {
      result["stopped"] = {{"before", length}};
      break;
    }
    options.progress("crossing " + std::to_string(length));
    pool::trim();
    const auto layers = make_layers(length, symbols / length);
    for (const auto& step : layers) step();
    const auto times = time_steps(layers, options.quick ? 0 : kBudget);
    lengths.push_back(static_cast<double>(length));
    attention.push_back(times[0].ms);
    s4d.push_back(times[1].ms);
    points.push_back({{"length", length},
                      {"batch", symbols / length},
                      {"turns", times[0].steps},
                      {"attention_ms", times[0].ms},
                      {"s4d_ms", times[1].ms}});
  }
  const Crossing crossing = find_crossing(lengths, attention, s4d);
  result["points"] = std::move(points);
  switch (crossing.kind) {
    case Crossing::Kind::never:
      result["verdict"] = "never";
      break;
    case Crossing::Kind::always:
      result["verdict"] = "always";
      break;
    case Crossing::Kind::at:
      result["verdict"] = "at";
      result["length"] = crossing.size;
  }
  return result;
}

}  // namespace kindred::apps::bench
