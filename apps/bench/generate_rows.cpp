// Row generate: one sequence of symbols drawn from a GPT with cached keys and values, through
// Objective::sample.
#include "apps/bench/gpt_rows.h"

namespace kindred::apps::bench {

namespace {

constexpr int64_t kSymbols = 64;
constexpr int32_t kPrompt = 7;

class GenerateWork final : public Work {
 public:
  explicit GenerateWork(const WorkOptions& options)
      : run_(make_gpt(kGptNano, std::make_shared<FixedText>(kGptNano), options)) {}
  void share(Exchange& out) override {
    share_gpt(kGptNano, *run_, out);
    out.setting("symbols", kSymbols);
    out.setting("prompt", kPrompt);
    // The numbers that decode() draws for sample 0.
    Tensor uniform = Tensor::empty({kSymbols}, DType::f64);
    const Rng rng = checked_.split(uint64_t{0});
    for (int64_t i = 0; i < kSymbols; ++i) uniform.mutable_data<double>()[i] = rng.uniform(i);
    out.tensor("uniform", uniform);
  }
  double checked_step() override {
    if (!drawn_.defined()) drawn_ = draw(checked_);
    return drawn_.item(done_++);
  }
  void step() override { draw(Rng(11).split(static_cast<uint64_t>(steps_++))); }

 private:
  Tensor draw(const Rng& rng) {
    harness::SampleOptions options;
    options.count = 1;
    options.length = kSymbols;
    options.prompt = {kPrompt};
    return run_->objective().sample(rng, options);
  }
  std::unique_ptr<harness::Run> run_;
  Rng checked_{5};
  Tensor drawn_;
  int64_t done_ = 0, steps_ = 0;
};

}  // namespace

std::vector<Row> generate_rows() {
  return {{"generate", "64 symbols of one sequence from the GPT of gpt-nano, cached", "generate.py",
           [](const WorkOptions& options) -> std::unique_ptr<Work> {
             return std::make_unique<GenerateWork>(options);
           },
           kSymbols,
           // In bf16 a number near the border of two symbols falls to either side, and what follows
           // is another sequence: nothing to compare.
           1e-4, static_cast<double>(kGptNano.vocab)}};
}

}  // namespace kindred::apps::bench
