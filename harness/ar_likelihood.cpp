// Exact likelihood of the autoregressive objective: streams in lanes, images one by one.
#include <algorithm>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/cross_entropy.h"
#include "autodiff/ops/layout.h"
#include "harness/ar.h"
#include "harness/windows.h"

namespace kindred::harness {
std::vector<double> Ar::stream_losses(std::span<const int32_t> stream,
                                      const LikelihoodOptions& options) const {
  check(!start_, "likelihood", "streams are scored under text models");
  check(options.batch >= 1, "likelihood", "batch ", options.batch);
  const NoGrad no_grad;
  const int64_t targets = stream_targets(static_cast<int64_t>(stream.size()), options.limit);
  const std::vector<Window> list = lane_windows(targets, window_, options.lane);
  std::vector<double> nats(targets);
  int64_t done = 0;
  for (std::size_t next = 0; next < list.size();) {
    std::size_t stop = next + 1;
    while (stop < list.size() && stop - next < static_cast<std::size_t>(options.batch) &&
           list[stop].same_shape(list[next]))
      ++stop;
    const auto B = static_cast<int64_t>(stop - next);
    const auto [unused, L, S] = list[next];
    Tensor inputs = Tensor::empty({B, L}, DType::i32), target = Tensor::empty({B, S}, DType::i32);
    for (int64_t b = 0; b < B; ++b) {
      const int64_t first = list[next + b].first;
      std::copy_n(stream.data() + first, L, inputs.mutable_data<int32_t>() + b * L);
      std::copy_n(stream.data() + first + L - S + 1, S, target.mutable_data<int32_t>() + b * S);
    }
    const Tensor hidden = backbone_.forward(embed(inputs, false), scoring_context(options));
    const Tensor losses =
        token_nll(layers_.logits(S == L ? hidden : slice(hidden, 1, L - S, S)), target);
    for (int64_t b = 0; b < B; ++b)
      for (int64_t i = 0; i < S; ++i) {
        const int64_t at = list[next + b].first + L - S + i;
        nats[at] = checked_nats(losses.item(b * S + i), at + 1);
      }
    done += B * S;
    next = stop;
    if (options.progress) options.progress(done, targets);
  }
  return nats;
}

Likelihood Ar::likelihood(const data::Dataset& data, data::Split split, const Rng&,
                          const LikelihoodOptions& options) const {
  if (!start_) {
    const std::vector<double> nats = stream_losses(data.stream(split), options);
    Likelihood result = blocked_likelihood(nats);
    result.evaluations = 1;
    result.note = "lane " + options.lane + ", windows of " + std::to_string(window_) + ", " +
                  std::to_string(nats.size()) + " targets";
    return result;
  }
  check(options.batch >= 1, "likelihood", "batch ", options.batch);
  const NoGrad no_grad;
  int64_t total = data.size(split);
  if (options.limit > 0) total = std::min(total, options.limit);
  Likelihood result;
  result.evaluations = 1;
  result.note = std::to_string(window_) + " symbols an element in raster order";
  for (int64_t first = 0; first < total; first += options.batch) {
    const int64_t B = std::min(options.batch, total - first);
    const Tensor symbols = data.elements(split, first, B).symbols;
    check(symbols.shape() == Shape{B, window_}, "likelihood", "wants symbols [", B, ", ", window_,
          "], got ", symbols.shape());
    const Tensor losses =
        token_nll(logits(columns(symbols, 0, window_ - 1), scoring_context(options)), symbols);
    for (int64_t b = 0; b < B; ++b) {
      double nats = 0;
      for (int64_t i = 0; i < window_; ++i) nats += checked_nats(losses.item(b * window_ + i), i);
      result.bits.push_back(nats / std::log(2.0));
      result.symbols.push_back(static_cast<double>(window_));
    }
    if (options.progress) options.progress(first + B, total);
  }
  return result;
}

}  // namespace kindred::harness
