// Sampling from the autoregressive objective: one symbol at a time through a Stepper.
#include <algorithm>

#include "autodiff/graph.h"
#include "autodiff/ops/layout.h"
#include "harness/ar.h"
#include "harness/windows.h"

namespace kindred::harness {
namespace {

constexpr int64_t kChunk = 64;  ///< samples drawn together

/// Stands in for a backbone without a Stepper: the whole forward pass at every step.
class ForwardStepper final : public Stepper {
 public:
  ForwardStepper(const AnyBackbone& backbone, int64_t limit) : backbone_(backbone), limit_(limit) {}
  Tensor prefill(const Tensor& x) override {
    seen_ = seen_.defined() ? concat({seen_, x}, 1) : x;
    return slice(backbone_.forward(seen_, Context()), 1, seen_.dim(1) - x.dim(1), x.dim(1));
  }
  int64_t position() const override { return seen_.defined() ? seen_.dim(1) : 0; }
  int64_t limit() const override { return limit_; }

 private:
  const AnyBackbone& backbone_;
  int64_t limit_;
  Tensor seen_;
};

std::unique_ptr<Stepper> new_stepper(const AnyBackbone& backbone, int64_t batch, int64_t window) {
  auto stepper = backbone.stepper(batch);
  if (!stepper) stepper = std::make_unique<ForwardStepper>(backbone, window);
  return stepper;
}

}  // namespace

Tensor Ar::next_logits(Stepper& stepper, const Tensor& symbols, bool from_start) const {
  const Tensor hidden = stepper.prefill(embed(symbols, from_start));
  const int64_t B = hidden.dim(0), L = hidden.dim(1);
  const Tensor last = L == 1 ? hidden : slice(hidden, 1, L - 1, 1);
  return layers_.logits(last).viewed_as({B, alphabet_}).to(DType::f32);
}

Tensor Ar::sample_chunk(const Rng& rng, const SampleOptions& options, int64_t first, int64_t count,
                        DrawMeter& meter) const {
  const bool text = !start_;
  std::vector<int32_t> prompt = options.prompt;
  if (text && prompt.empty()) prompt.push_back(first_symbol(spec_));
  const auto given = static_cast<int64_t>(prompt.size());
  const int64_t wanted = text && options.length > 0 ? options.length : window_;
  const int64_t total = text ? given + wanted : window_;
  check(text || given <= window_, "sample", "a prompt of ", given, " symbols for elements of ",
        window_);
  for (const int32_t s : prompt)
    check(s >= 0 && s < alphabet_, "sample", "prompt symbol ", s, " outside the alphabet of ",
          alphabet_);

  const DecodeOptions how = decode_options(options);
  Tensor all = Tensor::zeros({count, total}, DType::i32);
  int32_t* symbols = all.mutable_data<int32_t>();
  for (int64_t b = 0; b < count; ++b) std::copy(prompt.begin(), prompt.end(), symbols + b * total);

  auto stepper = new_stepper(backbone_, count, window_);
  const int64_t limit = text ? stepper->limit() : 0;
  const int64_t seen = limit > 0 ? std::min(given, limit) : given;
  Tensor logits;
  if (given < total) logits = next_logits(*stepper, columns(all, given - seen, seen), !text);
  for (int64_t at = given; at < total; ++at) {
    const Tensor drawn = decode(logits, how, rng, first, at - (text ? given : 0));
    for (int64_t b = 0; b < count; ++b) {
      symbols[b * total + at] = drawn.data<int32_t>()[b];
      if (options.drawn) options.drawn(first + b, drawn.data<int32_t>()[b]);
    }
    meter.evaluated(first);
    if (at + 1 == total) break;
    if (limit > 0 && stepper->position() >= limit) {
      stepper = new_stepper(backbone_, count, window_);
      const int64_t kept = std::min(at + 1, std::max<int64_t>(1, limit / 2));
      logits = next_logits(*stepper, columns(all, at + 1 - kept, kept), false);
    } else {
      logits = next_logits(*stepper, drawn.viewed_as({count, 1}), false);
    }
  }
  return text ? columns(all, given, wanted) : all;
}

Tensor Ar::sample(const Rng& rng, const SampleOptions& options) const {
  check(options.count >= 1, "sample", options.count, " samples");
  check(options.length >= 0, "sample", "length ", options.length);
  check(options.fill.empty(), "sample",
        "gaps are filled by the objective mask; ar goes on from a prompt");
  const NoGrad no_grad;
  Tensor result;
  const int64_t each = start_               ? window_ - static_cast<int64_t>(options.prompt.size())
                       : options.length > 0 ? options.length
                                            : window_;
  DrawMeter meter(options, kChunk, each);
  for (int64_t first = 0; first < options.count; first += kChunk) {
    const int64_t count = std::min(kChunk, options.count - first);
    const Tensor chunk = sample_chunk(rng, options, first, count, meter);
    if (!result.defined()) result = Tensor::empty({options.count, chunk.dim(1)}, DType::i32);
    std::copy_n(chunk.data<int32_t>(), chunk.numel(),
                result.mutable_data<int32_t>() + first * chunk.dim(1));
  }
  meter.done();
  return result;
}

}  // namespace kindred::harness
