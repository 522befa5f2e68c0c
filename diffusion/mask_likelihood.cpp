// The bound of the objective "mask", and the codelength from left to right.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>

#include "autodiff/graph.h"
#include "autodiff/ops/cross_entropy.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/index.h"
#include "autodiff/ops/layout.h"
#include "diffusion/mask.h"
#include "diffusion/score_entropy.h"
#include "harness/windows.h"

namespace kindred::diffusion {
namespace {

/// 1 / golden ratio: u + w / phi mod 1 spreads draws evenly over any run of windows.
constexpr double kSpread = 1 / std::numbers::phi;

}  // namespace

Tensor MaskObjective::logits_at(const Tensor& inputs, const harness::Context& context,
                                std::span<const int32_t> places) const {
  const Tensor hidden = hidden_states(inputs, context);
  const Tensor flat = reshape(hidden, {hidden.dim(0) * hidden.dim(1), hidden.dim(2)});
  const Tensor index = Tensor::from(places, {static_cast<int64_t>(places.size())});
  return layers_.logits(take(flat, index));
}

MaskObjective::Scores MaskObjective::bound(std::span<const Stretch> items, const Rng& rng,
                                           const harness::LikelihoodOptions& options,
                                           const std::function<void(int64_t)>& done) const {
  check(options.batch >= 1, "likelihood", "batch ", options.batch);
  const NoGrad no_graph;
  const auto count = static_cast<int64_t>(items.size());
  const int64_t D = config_.draws;
  std::vector<int64_t> at(count + 1, 0);  // where the losses of an item begin
  for (int64_t i = 0; i < count; ++i) at[i + 1] = at[i] + items[i].modelled();
  Scores scores;
  scores.nats.assign(at[count], 0.0);
  std::vector<double> sums(D);  // of the draws of one item
  const double offset = rng.uniform(0);
  MaskProcess process = process_;
  for (int64_t row = 0; row < count * D;) {
    const int64_t B = std::min(options.batch, count * D - row);
    Rows rows = empty_rows(B);
    for (int64_t b = 0; b < B; ++b) {
      const int64_t item = (row + b) / D, draw = (row + b) % D;
      const Stretch& s = items[item];
      check(s.length <= positions_ && s.known >= 0 && s.modelled() >= 1, "likelihood",
            "a stretch of ", s.length, " symbols, ", s.known, " of them known, for ", positions_,
            " positions");
      if (s.modelled() != process.symbols()) process = MaskProcess(s.modelled(), timesteps());
      const double u = inside_unit(offset + kSpread * static_cast<double>(item) +
                                   static_cast<double>(draw) / static_cast<double>(D));
      const Rng stream = rng.split(static_cast<uint64_t>(item)).split(draw);
      const Hiding hiding = sum_bound_ ? process.of_count(u, stream) : process.at_time(u, stream);
      set_row(rows, b, s, hiding, hiding.weight);
    }
    harness::Context context = harness::scoring_context(options);
    context.time = rows.time;
    const Tensor z = layers_.logits(hidden_states(rows.inputs, context));
    Tensor losses = token_nll(z, rows.targets);
    if (loss_ == Loss::sedd) losses = losses + score_entropy_excess(z, rows.weights);
    for (int64_t b = 0; b < B; ++b) {
      const int64_t item = (row + b) / D, draw = (row + b) % D;
      const Stretch& s = items[item];
      double sum = 0;
      for (int64_t p = s.known; p < s.length; ++p) {
        const double weight = rows.weights.item(b * positions_ + p);
        if (weight == 0) continue;
        const double nats = weight * harness::checked_nats(losses.item(b * positions_ + p), p);
        scores.nats[at[item] + p - s.known] += nats / static_cast<double>(D);
        sum += nats;
      }
      sums[draw] = sum;
      if (draw + 1 < D || D < 2) continue;
      double mean = 0, squares = 0;
      for (const double x : sums) mean += x / static_cast<double>(D);
      for (const double x : sums) squares += (x - mean) * (x - mean);
      scores.draw_variance += squares / static_cast<double>(D * (D - 1));
    }
    row += B;
    if (done) done(row / D);
  }
  return scores;
}

std::vector<double> MaskObjective::left_to_right(std::span<const Stretch> items,
                                                 const harness::LikelihoodOptions& options) const {
  check(options.batch >= 1, "likelihood", "batch ", options.batch);
  const NoGrad no_graph;
  std::vector<std::pair<int64_t, int64_t>> work;  // item and the symbol that is coded
  for (std::size_t i = 0; i < items.size(); ++i)
    for (int64_t p = items[i].known; p < items[i].length; ++p)
      work.emplace_back(static_cast<int64_t>(i), p);
  std::vector<double> nats;
  nats.reserve(work.size());
  for (std::size_t next = 0; next < work.size();) {
    const int64_t B = std::min<int64_t>(options.batch, static_cast<int64_t>(work.size() - next));
    Rows rows = empty_rows(B);
    Tensor target = Tensor::empty({B}, DType::i32);
    std::vector<int32_t> places(B);
    for (int64_t b = 0; b < B; ++b) {
      const auto [item, p] = work[next + b];
      const Stretch& s = items[item];
      std::copy_n(s.symbols, p, rows.inputs.mutable_data<int32_t>() + b * positions_);
      target.mutable_data<int32_t>()[b] = s.symbols[p];
      places[b] = static_cast<int32_t>(b * positions_ + p);
      rows.time.mutable_data<float>()[b] =
          static_cast<float>(s.length - p) / static_cast<float>(s.modelled());
    }
    harness::Context context = harness::scoring_context(options);
    context.time = rows.time;
    const Tensor losses = token_nll(logits_at(rows.inputs, context, places), target);
    for (int64_t b = 0; b < B; ++b)
      nats.push_back(harness::checked_nats(losses.item(b), work[next + b].second));
    next += static_cast<std::size_t>(B);
  }
  return nats;
}

void MaskObjective::add_left_to_right(std::span<const Stretch> items, int64_t allowed,
                                      const harness::LikelihoodOptions& options,
                                      harness::Likelihood& result) const {
  const auto count = static_cast<int64_t>(items.size());
  const int64_t wanted =
      std::min({config_.l2r, count, std::max<int64_t>(1, allowed / spec_.length)});
  if (wanted == 0) return;
  std::vector<Stretch> chosen;
  for (int64_t i = 0; i < wanted; ++i) chosen.push_back(items[i * count / wanted]);
  const std::vector<double> nats = left_to_right(chosen, options);
  harness::Likelihood exact;
  std::size_t at = 0;
  for (const Stretch& s : chosen) {
    double sum = 0;
    for (int64_t i = 0; i < s.modelled(); ++i) sum += nats[at++];
    exact.bits.push_back(sum / std::numbers::ln2);
    exact.symbols.push_back(static_cast<double>(s.modelled()));
  }
  const std::string key = text() ? "bpc_l2r" : "bpd_l2r";
  result.metrics.emplace_back(key, exact.bits_per_symbol());
  result.metrics.emplace_back(key + "_se", exact.std_error());
  result.metric_kinds[key] = harness::Kind::exact;
  result.note += "; " + key + " of " + std::to_string(wanted) +
                 (text() ? " windows, spread evenly" : " elements, spread evenly");
}

std::string MaskObjective::bound_note() const {
  std::ostringstream note;
  note << "bound of " << config_.loss;
  if (timesteps() > 0) note << " in " << timesteps() << " steps";
  note << ", " << (sum_bound_ ? "sum" : "time") << " form, " << config_.draws << " draws "
       << (text() ? "a window" : "an element");
  return note.str();
}

harness::Likelihood MaskObjective::likelihood(const data::Dataset& data, data::Split split,
                                              const Rng& rng,
                                              const harness::LikelihoodOptions& options) const {
  check(options.batch >= 1, "likelihood", "batch ", options.batch);
  std::vector<Stretch> items;
  std::vector<Tensor> elements;  // what the stretches of images point into
  int64_t total;                 // targets of text, images
  if (text()) {
    const auto stream = data.stream(split);
    total = harness::stream_targets(static_cast<int64_t>(stream.size()), options.limit);
    for (const harness::Window& w : harness::lane_windows(total, spec_.length, options.lane))
      items.push_back({stream.data() + w.first, w.length + 1, w.length + 1 - w.scored});
  } else {
    total = options.limit > 0 ? std::min(data.size(split), options.limit) : data.size(split);
    for (int64_t first = 0; first < total; first += options.batch) {
      const int64_t B = std::min(options.batch, total - first);
      elements.push_back(data.elements(split, first, B).symbols);
      check(elements.back().shape() == Shape{B, spec_.length}, "likelihood", "wants symbols [", B,
            ", ", spec_.length, "], got ", elements.back().shape());
      for (int64_t b = 0; b < B; ++b)
        items.push_back({elements.back().data<int32_t>() + b * spec_.length, spec_.length, 0});
    }
  }
  const auto count = static_cast<int64_t>(items.size());
  const Scores scores = bound(items, rng, options, [&](int64_t done) {
    if (options.progress) options.progress(done * total / count, total);
  });

  harness::Likelihood result;
  std::ostringstream note;
  note << bound_note();
  if (text()) {
    result = harness::blocked_likelihood(scores.nats);
    note << ", lane " << options.lane << ", windows of " << spec_.length << ", " << total
         << " targets";
  } else {
    result = harness::blocked_likelihood(scores.nats, total);  // a block is an element
    note << ", " << spec_.length << " symbols an element";
  }
  result.kind = harness::Kind::bound;
  result.evaluations = static_cast<double>(config_.draws);
  result.note = note.str();
  if (config_.draws > 1) {
    const auto symbols = static_cast<double>(scores.nats.size());
    result.metrics.emplace_back("draw_std_error",
                                std::sqrt(scores.draw_variance) / (symbols * std::numbers::ln2));
  }
  add_left_to_right(items, count * config_.draws, options, result);
  return result;
}

}  // namespace kindred::diffusion
