// The GPT that the rows gpt-* and generate share: a Run of ar/attention on fixed random symbols.
#pragma once
#include <memory>

#include "apps/bench/row.h"
#include "harness/run.h"

namespace kindred::apps::bench {

struct GptSize {
  int64_t layers, heads, width, context, batch, vocab;
  bool bias;
  double lr = 1e-3;
};
inline constexpr GptSize kGptNano{4, 4, 128, 64, 12, 65, false};
inline constexpr GptSize kGptChar{6, 6, 384, 256, 8, 65, false};
// A rate at which training is stable: rounding does not grow in the comparison.
inline constexpr GptSize kGpt2{12, 12, 768, 64, 4, 50257, true, 1e-4};

/// kBatches windows of symbols [B, context + 1], given again and again; no files.
class FixedText final : public data::Dataset {
 public:
  explicit FixedText(const GptSize& size);
  const data::DataSpec& spec() const override { return spec_; }
  int64_t size(data::Split) const override { return symbols_.numel(); }
  data::Batch elements(data::Split, int64_t, int64_t) const override;
  data::Batch batch(data::Split, const Rng&, int64_t step, int64_t batch_size) const override;
  /// i32 [kBatches, B, context + 1]
  const Tensor& symbols() const { return symbols_; }

 private:
  data::DataSpec spec_;
  Tensor symbols_;
};

std::unique_ptr<harness::Run> make_gpt(const GptSize& size, std::shared_ptr<FixedText> text,
                                       const WorkOptions& options);
/// Weights and sizes.
void share_gpt(const GptSize& size, harness::Run& run, Exchange& out);

}  // namespace kindred::apps::bench
