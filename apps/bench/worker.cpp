#include "apps/bench/worker.h"

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <sstream>

#include "apps/bench/costs.h"
#include "apps/bench/products.h"
#include "apps/bench/row.h"
#include "autodiff/op.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "harness/run.h"

namespace kindred::apps::bench {

namespace {

using nlohmann::json;

double milliseconds(Work& work) {
  const auto start = std::chrono::steady_clock::now();
  work.step();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

json count_step(Work& work) {
  work.step();
  const double flops = executed_flops();
  pool::freeze();
  pool::reset_peak();
  work.step();
  const PoolStats pool = pool::stats();
  const double done = executed_flops() - flops;
  const Costs costs = measure_costs([&] { work.step(); }, 0, 1);
  return {{"flops", done},
          {"bytes", costs.bytes()},
          {"allocations", pool.allocations_when_frozen},
          {"pool_peak_bytes", pool.peak_bytes_in_use}};
}

/// Matrix products timed alone; convolutions of oneDNN as they run inside the step, which is nearly
/// alone (without oneDNN they are matrix products).
json all_products(Work& work) {
  const auto step = [&] { work.step(); };
  const json gemm = time_products(step);
  const Costs costs = measure_costs(step, 0, 5);
  double flops = 0, ms = 0;
#ifdef KINDRED_ONEDNN
  for (const Cost& cost : costs.rows)
    if (cost.name.rfind("conv2d", 0) == 0) {
      flops += cost.flops / costs.steps;
      ms += 1e3 * cost.seconds / costs.steps;
    }
#endif
  json products = {{"gemm", gemm}};
  if (ms > 0) products["conv"] = {{"flops", flops}, {"ms", ms}, {"gflop_per_s", flops / ms / 1e6}};
  flops += gemm.value("flops", 0.0);
  ms += gemm.value("ms", 0.0);
  if (ms > 0) products.update({{"flops", flops}, {"ms", ms}, {"gflop_per_s", flops / ms / 1e6}});
  return products;
}

json answer(const std::string& request, Work& work, int64_t baseline) {
  std::istringstream words(request);
  std::string verb;
  words >> verb;
  if (verb == "share") {
    std::string folder;
    std::getline(words >> std::ws, folder);
    Exchange out(folder);
    work.share(out);
    out.finish();
    return {{"shared", folder}};
  }
  if (verb == "losses" || verb == "steps") {
    int64_t count = 0;
    words >> count;
    json values = json::array();
    for (int64_t i = 0; i < count; ++i)
      values.push_back(verb == "steps" ? milliseconds(work) : work.checked_step());
    return {{verb == "steps" ? "ms" : "losses", values}};
  }
  if (verb == "memory") return {{"baseline", baseline}, {"peak", harness::peak_rss()}};
  if (verb == "count") return count_step(work);
  if (verb == "products") return all_products(work);
  if (verb == "stream") return {{"bytes_per_s", stream_rate()}};
  if (verb == "profile") {
    int warm_up = 0, steps = 1;
    words >> warm_up >> steps;
    return to_json(measure_costs([&] { work.step(); }, warm_up, steps), machine_rates());
  }
  return {{"error", "unknown request " + verb}};
}

}  // namespace

int worker(int argc, char** argv) {
  check(argc == 4, "bench", "--worker ROW PRECISION THREADS is for the program itself");
  const Row& row = find_row(argv[1]);
  WorkOptions options{argv[2], std::atoi(argv[3])};
  if (options.threads > 0) set_threads(options.threads);
  const int64_t baseline = harness::rss();
  const auto work = row.make(options);
  harness::reset_peak_rss();
  std::cout << json{{"ready", true},
                    {"rss", baseline},
                    {"library", gemm_description()},
                    {"threads", threads()}}
                   .dump()
            << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    json reply;
    try {
      reply = answer(line, *work, baseline);
    } catch (const std::exception& error) {
      reply = {{"error", error.what()}};
    }
    std::cout << reply.dump() << std::endl;
  }
  return 0;
}

}  // namespace kindred::apps::bench
