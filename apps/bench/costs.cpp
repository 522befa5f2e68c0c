#include "apps/bench/costs.h"

#include <algorithm>
#include <cstdio>

#include "apps/bench/step_time.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "autodiff/rng.h"
#include "harness/json.h"

namespace kindred::apps::bench {

namespace {
/// The best of several runs after one that warms up: a rate that the machine can reach.
double best_seconds(const std::function<void()>& work) {
  work();
  double best = seconds_of(work), total = best;
  for (int i = 1; i < 50 && total < 0.3; ++i) {
    const double s = seconds_of(work);
    best = std::min(best, s);
    total += s;
  }
  return best;
}
}  // namespace

double Costs::flops() const {
  double total = 0;
  for (const Cost& c : rows) total += c.flops;
  return total / steps;
}
double Costs::bytes() const {
  double total = 0;
  for (const Cost& c : rows) total += c.bytes;
  return total / steps;
}

Costs measure_costs(const std::function<void()>& step, int warm_up, int steps) {
  for (int i = 0; i < warm_up; ++i) step();
  pool::freeze();
  pool::reset_peak();
  Costs costs;
  const Profile profile;
  for (int i = 0; i < steps; ++i) step();
  costs.seconds = profile.seconds();
  costs.rows = profile.costs();
  costs.steps = steps;
  costs.allocations = static_cast<double>(pool::stats().allocations_when_frozen);
  costs.pool_peak_bytes = static_cast<double>(pool::stats().peak_bytes_in_use);
  return costs;
}

double stream_rate() {
  constexpr int64_t n = 16 << 20;  // 64 MiB an array
  Tensor a = Tensor::zeros({n});
  const Tensor b = Tensor::ones({n}), c = Tensor::ones({n});
  float* __restrict to = a.mutable_data<float>();
  const float* __restrict from = b.data<float>();
  const float* __restrict scaled = c.data<float>();
  const double seconds = best_seconds([&] {
    parallel_for(n, n / 16, [=](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) to[i] = from[i] + 3 * scaled[i];
    });
  });
  return 3.0 * static_cast<double>(a.bytes()) / seconds;
}

Rates machine_rates() {
  constexpr int64_t n = 1024;
  const Tensor a = Rng(1).normal({n, n}), b = Rng(2).normal({n, n});
  Tensor c = Tensor::empty({n, n});
  Gemm g;
  g.m = g.n = g.k = g.lda = g.ldb = g.ldc = n;
  g.a = a.raw();
  g.b = b.raw();
  g.c = c.mutable_raw();
  const double seconds = best_seconds([&] { gemm(g, DType::f32); });
  return {2.0 * n * n * n / seconds, stream_rate()};
}

nlohmann::json to_json(const Costs& costs, const Rates& rates) {
  nlohmann::json ops = nlohmann::json::array();
  const double steps = costs.steps;
  double summed = 0;
  for (const Cost& c : costs.rows) {
    const double bound = std::max(c.flops / rates.flops_per_s, c.bytes / rates.bytes_per_s);
    summed += c.seconds;
    ops.push_back(
        {{"op", c.name},
         {"backward", c.backward},
         {"calls", static_cast<double>(c.calls) / steps},
         {"ms", 1e3 * c.seconds / steps},
         {"share", c.seconds / costs.seconds},
         {"gflop_per_s", c.flops / c.seconds / 1e9},
         {"gb_per_s", c.bytes / c.seconds / 1e9},
         {"bound", c.flops / rates.flops_per_s >= c.bytes / rates.bytes_per_s ? "flops" : "bytes"},
         {"of_bound", bound / c.seconds}});
  }
  return {{"steps", costs.steps},
          {"ms_per_step", 1e3 * costs.seconds / steps},
          {"ms_in_ops", 1e3 * summed / steps},
          {"flops_per_step", costs.flops()},
          {"bytes_per_step", costs.bytes()},
          {"allocations_per_step", costs.allocations / steps},
          {"pool_peak_bytes", costs.pool_peak_bytes},
          {"gemm_gflop_per_s", rates.flops_per_s / 1e9},
          {"stream_gb_per_s", rates.bytes_per_s / 1e9},
          {"ops", ops}};
}

void print_costs(const nlohmann::json& costs) {
  std::printf("%-28s %8s %10s %7s %11s %9s %9s\n", "op", "calls", "ms/step", "share", "GFLOP/s",
              "GB/s", "of bound");
  for (const auto& op : costs["ops"]) {
    const std::string name = op["op"].get<std::string>() + (op["backward"].get<bool>() ? " '" : "");
    std::printf("%-28s %8.1f %10.4f %6.1f%% %11.2f %9.2f %8.0f%%\n", name.c_str(),
                op["calls"].get<double>(), op["ms"].get<double>(), 100 * op["share"].get<double>(),
                op["gflop_per_s"].get<double>(), op["gb_per_s"].get<double>(),
                100 * op["of_bound"].get<double>());
  }
  const double ms = costs["ms_per_step"];
  std::printf("%-28s %8s %10.4f %6.1f%%\n", "all of them", "", costs["ms_in_ops"].get<double>(),
              100 * costs["ms_in_ops"].get<double>() / ms);
  std::printf(
      "step: %.3f ms, %.3f GFLOP (%.1f GFLOP/s), %.1f MB moved (%.2f GB/s), %.1f allocations, pool "
      "peak %.1f MB\n"
      "' marks derivatives. Bound: the larger of operations at %.1f GFLOP/s (a product of 1024 x "
      "1024 matrices) and "
      "inputs and outputs at %.1f GB/s (triad); above 100%% the caches helped\n",
      ms, costs["flops_per_step"].get<double>() / 1e9,
      costs["flops_per_step"].get<double>() / ms / 1e6, costs["bytes_per_step"].get<double>() / 1e6,
      costs["bytes_per_step"].get<double>() / ms / 1e6, costs["allocations_per_step"].get<double>(),
      costs["pool_peak_bytes"].get<double>() / 1e6, costs["gemm_gflop_per_s"].get<double>(),
      costs["stream_gb_per_s"].get<double>());
}

}  // namespace kindred::apps::bench
