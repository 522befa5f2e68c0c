// Samples of the objective "mask". Going from t to t' < t each hidden symbol appears with
// probability (t - t')/t; so with `steps` equal steps from 1 to 0 the step at which it appears is
// uniform, and is drawn once. The network is evaluated for those rows only in which a symbol
// appears: until then its input has not changed. One at a time (the limit of many steps) has no
// error but the network's.
#include <algorithm>
#include <numeric>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "diffusion/mask.h"
#include "harness/windows.h"

namespace kindred::diffusion {
namespace {

constexpr int64_t kChunk = 64;  ///< samples drawn together

}  // namespace

MaskObjective::Drawing MaskObjective::drawing(const harness::SampleOptions& options) const {
  Drawing how;
  how.decode = harness::decode_options(options);
  how.order = choose<Order>(options.sampler.empty() ? config_.sampler : options.sampler,
                            {{"ancestral", Order::ancestral},
                             {"random_order", Order::random},
                             {"left_to_right", Order::left_to_right}},
                            "objective.sampler");
  how.steps = options.steps > 0 ? options.steps : config_.steps;
  check(how.steps >= 1, "objective.steps", how.steps, "; at least 1");
  how.trace = options.trace;
  return how;
}

void MaskObjective::fill(Tensor& state, std::span<const int64_t> open, std::span<const Rng> streams,
                         const Drawing& how) const {
  const auto n = static_cast<int64_t>(open.size()), B = static_cast<int64_t>(streams.size());
  const bool ancestral = how.order == Order::ancestral;
  const int64_t steps = ancestral ? how.steps : n;
  std::vector<std::vector<Event>> appear(steps);  // at step s of 0 .. steps - 1, t = 1 - s/steps
  for (int64_t b = 0; b < B; ++b) {
    const Rng times = streams[b].split("appear");
    std::vector<int64_t> order(open.begin(), open.end());
    if (how.order == Order::random)
      std::sort(order.begin(), order.end(),
                [&](int64_t p, int64_t q) { return times.uniform(p) < times.uniform(q); });
    for (int64_t i = 0; i < n; ++i) {
      const int64_t step =
          ancestral ? static_cast<int64_t>(times.below(steps, static_cast<uint64_t>(order[i]))) : i;
      appear[step].push_back({b, order[i]});
    }
  }
  for (int64_t s = 0; s < steps; ++s) {
    const double time = 1 - static_cast<double>(s) / static_cast<double>(steps);
    if (how.trace) how.trace(s, time, how.first, harness::columns(state, context_, spec_.length));
    if (appear[s].empty()) continue;
    show(state, appear[s], time, streams, how);
    if (how.evaluated) how.evaluated();
  }
  if (how.trace) how.trace(steps, 0, how.first, harness::columns(state, context_, spec_.length));
}

void MaskObjective::show(Tensor& state, std::span<const Event> events, double time,
                         std::span<const Rng> streams, const Drawing& how) const {
  int32_t* symbols = state.mutable_data<int32_t>();
  std::vector<int64_t> rows;  // that change now, ascending as the events are
  std::vector<int32_t> places;
  for (const Event& e : events) {
    if (rows.empty() || rows.back() != e.row) rows.push_back(e.row);
    const auto r = static_cast<int64_t>(rows.size()) - 1;
    places.push_back(static_cast<int32_t>(r * positions_ + e.position));
  }
  const auto R = static_cast<int64_t>(rows.size());
  Tensor inputs = Tensor::empty({R, positions_}, DType::i32);
  for (int64_t r = 0; r < R; ++r)
    std::copy_n(symbols + rows[r] * positions_, positions_,
                inputs.mutable_data<int32_t>() + r * positions_);
  harness::Context context;
  context.time = Tensor::full({R}, time);
  const Tensor z = logits_at(inputs, context, places).to(DType::f32);
  const auto V = static_cast<std::size_t>(alphabet_);
  for (std::size_t e = 0; e < events.size(); ++e) {
    const auto p = harness::filtered_probabilities(z.span<float>().subspan(e * V, V), how.decode);
    const auto [row, position] = events[e];
    symbols[row * positions_ + position] =
        harness::inverse_cdf(p, streams[row].split("symbol").uniform(position));
  }
}

Tensor MaskObjective::continued(std::span<const int32_t> prompt, int64_t wanted,
                                std::span<const Rng> streams, const Drawing& how) const {
  const auto B = static_cast<int64_t>(streams.size()), given = static_cast<int64_t>(prompt.size());
  const int64_t total = given + wanted;
  Tensor all = Tensor::empty({B, total}, DType::i32);
  int32_t* symbols = all.mutable_data<int32_t>();
  for (int64_t b = 0; b < B; ++b) std::copy(prompt.begin(), prompt.end(), symbols + b * total);
  uint64_t window = 0;
  for (int64_t done = given; done < total; ++window) {
    // What fits is drawn at once; else as much as is known, up to half a window, is kept in front.
    const int64_t known =
        total <= positions_ ? done : std::min(done, std::max<int64_t>(1, positions_ / 2));
    const int64_t fresh = std::min(positions_ - known, total - done);
    Tensor state = Tensor::full({B, positions_}, static_cast<double>(alphabet_), DType::i32);
    for (int64_t b = 0; b < B; ++b)
      std::copy_n(symbols + b * total + done - known, known,
                  state.mutable_data<int32_t>() + b * positions_);
    std::vector<int64_t> open(fresh);
    std::iota(open.begin(), open.end(), known);
    std::vector<Rng> here;
    for (const Rng& stream : streams) here.push_back(stream.split(window));
    fill(state, open, here, how);
    for (int64_t b = 0; b < B; ++b)
      std::copy_n(state.data<int32_t>() + b * positions_ + known, fresh,
                  symbols + b * total + done);
    done += fresh;
  }
  return text() ? harness::columns(all, given, wanted) : all;
}

Tensor MaskObjective::filled(std::span<const int32_t> given, std::span<const Rng> streams,
                             const Drawing& how) const {
  const auto B = static_cast<int64_t>(streams.size()), n = static_cast<int64_t>(given.size());
  check(text() ? n <= spec_.length : n == spec_.length, "sample", "fill has ", n, " symbols; ",
        text() ? "a window has " : "an element has ", spec_.length);
  Tensor state = Tensor::full({B, positions_}, static_cast<double>(alphabet_), DType::i32);
  std::vector<int64_t> open;
  for (int64_t p = 0; p < n; ++p) {
    if (given[p] == harness::kGap) open.push_back(p + context_);
    for (int64_t b = 0; b < B && given[p] != harness::kGap; ++b)
      state.mutable_data<int32_t>()[b * positions_ + p + context_] = given[p];
  }
  for (int64_t b = 0; b < B && text(); ++b)
    state.mutable_data<int32_t>()[b * positions_] = harness::first_symbol(spec_);
  fill(state, open, streams, how);
  return harness::columns(state, context_, n);
}

Tensor MaskObjective::sample(const Rng& rng, const harness::SampleOptions& options) const {
  check(options.count >= 1, "sample", options.count, " samples");
  check(options.length >= 0, "sample", "length ", options.length);
  check(options.fill.empty() || (options.prompt.empty() && options.length == 0), "sample",
        "fill is a whole text; it takes neither a prompt nor a length");
  for (const int32_t s : options.prompt)
    check(s >= 0 && s < alphabet_, "sample", "prompt symbol ", s, " outside the alphabet of ",
          alphabet_);
  for (const int32_t s : options.fill)
    check(s == harness::kGap || (s >= 0 && s < alphabet_), "sample", "symbol ", s,
          " to fill around is outside the alphabet of ", alphabet_);
  const NoGrad no_graph;
  check(options.labels.empty() && options.guidance == 0, "sample",
        "the objective mask is not conditioned on classes");
  Drawing how = drawing(options);
  std::vector<int32_t> prompt = options.prompt;
  if (text() && prompt.empty()) prompt.push_back(harness::first_symbol(spec_));
  const auto given = static_cast<int64_t>(prompt.size());
  check(text() || given <= spec_.length, "sample", "a prompt of ", given,
        " symbols for elements of ", spec_.length);
  const int64_t wanted = !text()              ? spec_.length - given
                         : options.length > 0 ? options.length
                                              : spec_.length;
  const int64_t gaps = options.fill.empty()
                           ? wanted
                           : std::count(options.fill.begin(), options.fill.end(), harness::kGap);
  // Of longer texts, in windows, the number is not known.
  const int64_t expected =
      given + wanted > positions_ ? 0 : (how.order == Order::ancestral ? how.steps : gaps);
  harness::DrawMeter meter(options, kChunk, expected);
  if (meter.wanted()) how.evaluated = [&] { meter.evaluated(how.first); };
  Tensor result;
  for (int64_t first = 0; first < options.count; first += kChunk) {
    const int64_t count = std::min(kChunk, options.count - first);
    how.first = first;
    std::vector<Rng> streams;
    for (int64_t k = first; k < first + count; ++k)
      streams.push_back(rng.split(static_cast<uint64_t>(k)));
    const Tensor chunk = options.fill.empty() ? continued(prompt, wanted, streams, how)
                                              : filled(options.fill, streams, how);
    if (!result.defined()) result = Tensor::empty({options.count, chunk.dim(1)}, DType::i32);
    std::copy_n(chunk.data<int32_t>(), chunk.numel(),
                result.mutable_data<int32_t>() + first * chunk.dim(1));
  }
  meter.done();
  return result;
}

}  // namespace kindred::diffusion
