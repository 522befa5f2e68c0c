#include "apps/bench/products.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <tuple>
#include <vector>

#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "harness/json.h"

namespace kindred::apps::bench {

namespace {

/// Copies of address ranges: ranges that overlap become one buffer, so that aliases stay aliases.
class Shadow {
 public:
  void add(const void* begin, int64_t elements, DType dtype) {
    const auto first = reinterpret_cast<uintptr_t>(begin);
    ranges_.push_back({first, first + static_cast<uintptr_t>(elements) * size_of(dtype), {}});
  }
  /// Merges and allocates; small numbers, as products of them are inputs of others.
  void build() {
    std::sort(ranges_.begin(), ranges_.end(),
              [](const Range& a, const Range& b) { return a.begin < b.begin; });
    std::vector<Range> merged;
    for (const Range& r : ranges_) {
      if (!merged.empty() && r.begin < merged.back().end) {
        merged.back().end = std::max(merged.back().end, r.end);
      } else {
        merged.push_back(r);
      }
    }
    ranges_ = std::move(merged);
    for (Range& r : ranges_) {
      r.copy = Tensor::empty({static_cast<int64_t>((r.end - r.begin + 3) / 4)});
      float* x = r.copy.mutable_data<float>();
      parallel_for(r.copy.numel(), kGrain, [=](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) x[i] = 1e-3f * static_cast<float>(i * 37 % 61 - 30);
      });
    }
  }
  void* of(const void* address) {
    const auto at = reinterpret_cast<uintptr_t>(address);
    const auto next = std::upper_bound(ranges_.begin(), ranges_.end(), at,
                                       [](uintptr_t x, const Range& r) { return x < r.begin; });
    Range& r = *std::prev(next);
    return static_cast<std::byte*>(r.copy.mutable_raw()) + (at - r.begin);
  }

 private:
  struct Range {
    uintptr_t begin, end;
    Tensor copy;
  };
  std::vector<Range> ranges_;
};

int64_t extent(int64_t batch, int64_t stride, int64_t rows, int64_t cols, int64_t row_stride) {
  return stride * (batch - 1) + (rows - 1) * row_stride + cols;
}

double flops_of(const Gemm& g) {
  return 2.0 * static_cast<double>(g.batch * g.m) * static_cast<double>(g.n) *
         static_cast<double>(g.k);
}

using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, bool, bool, bool, DType>;
Key key_of(const GemmRecorder::Entry& e) {
  const Gemm& g = e.call;
  return {g.batch, g.m, g.n, g.k, g.transpose_a, g.transpose_b, g.accumulate, e.dtype};
}

}  // namespace

nlohmann::json time_products(const std::function<void()>& step) {
  std::vector<GemmRecorder::Entry> calls;
  {
    const GemmRecorder recorder;
    step();
    calls = recorder.calls();
  }
  if (calls.empty()) return {{"calls", 0}};
  Shadow shadow;
  double flops = 0;
  for (const auto& [g, dtype] : calls) {
    shadow.add(
        g.a,
        extent(g.batch, g.stride_a, g.transpose_a ? g.k : g.m, g.transpose_a ? g.m : g.k, g.lda),
        dtype);
    shadow.add(
        g.b,
        extent(g.batch, g.stride_b, g.transpose_b ? g.n : g.k, g.transpose_b ? g.k : g.n, g.ldb),
        dtype);
    shadow.add(g.c, extent(g.batch, g.stride_c, g.m, g.n, g.ldc), dtype);
    flops += flops_of(g);
  }
  shadow.build();
  for (auto& entry : calls) {
    entry.call.a = shadow.of(entry.call.a);
    entry.call.b = shadow.of(entry.call.b);
    entry.call.c = shadow.of(entry.call.c);
  }

  struct Bin {
    int64_t count = 0;
    double seconds = 0;
  };
  std::map<Key, Bin> bins;
  using Clock = std::chrono::steady_clock;
  const auto pass = [&] {
    double total = 0;
    for (const auto& entry : calls) {
      const auto start = Clock::now();
      gemm(entry.call, entry.dtype);
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      Bin& bin = bins[key_of(entry)];
      ++bin.count;
      bin.seconds += seconds;
      total += seconds;
    }
    return total;
  };
  pass();
  bins.clear();
  std::vector<double> passes;
  for (double total = 0; passes.size() < 3 || (total < 0.5 && passes.size() < 200);) {
    passes.push_back(pass());
    total += passes.back();
  }
  std::sort(passes.begin(), passes.end());
  const double median = passes[passes.size() / 2];
  const auto repeats = static_cast<double>(passes.size());
  nlohmann::json shapes = nlohmann::json::array();
  for (const auto& [key, bin] : bins) {
    const auto& [batch, m, n, k, ta, tb, accumulate, dtype] = key;
    const double each =
        2.0 * static_cast<double>(batch * m) * static_cast<double>(n) * static_cast<double>(k);
    shapes.push_back({{"m", m},
                      {"n", n},
                      {"k", k},
                      {"batch", batch},
                      {"transpose_a", ta},
                      {"transpose_b", tb},
                      {"accumulate", accumulate},
                      {"dtype", name(dtype)},
                      {"count", static_cast<double>(bin.count) / repeats},
                      {"ms", 1e3 * bin.seconds / repeats},
                      {"gflop_per_s", each * static_cast<double>(bin.count) / bin.seconds / 1e9}});
  }
  std::sort(shapes.begin(), shapes.end(),
            [](const auto& a, const auto& b) { return a["ms"] > b["ms"]; });
  return {{"calls", calls.size()},
          {"flops", flops},
          {"ms", 1e3 * median},
          {"gflop_per_s", flops / median / 1e9},
          {"shapes", shapes}};
}

}  // namespace kindred::apps::bench
