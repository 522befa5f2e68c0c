// Rows generate*: one sequence of symbols drawn from a GPT with cached keys and values, through
// Objective::sample. The yardstick has no biases; beside the matrices they weigh nothing.
#include "apps/bench/gpt_rows.h"

namespace kindred::apps::bench {

namespace {

constexpr int32_t kPrompt = 7;

class GenerateWork final : public Work {
 public:
  GenerateWork(const GptSize& size, int64_t symbols, const WorkOptions& options)
      : size_(size),
        symbols_(symbols),
        run_(make_gpt(size, std::make_shared<FixedText>(size), options)) {}
  void share(Exchange& out) override {
    share_gpt(size_, *run_, out);
    out.setting("symbols", symbols_);
    out.setting("prompt", kPrompt);
    // The numbers that decode() draws for sample 0.
    Tensor uniform = Tensor::empty({symbols_}, DType::f64);
    const Rng rng = checked_.split(uint64_t{0});
    for (int64_t i = 0; i < symbols_; ++i) uniform.mutable_data<double>()[i] = rng.uniform(i);
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
    options.length = symbols_;
    options.prompt = {kPrompt};
    return run_->objective().sample(rng, options);
  }
  GptSize size_;
  int64_t symbols_;
  std::unique_ptr<harness::Run> run_;
  Rng checked_{5};
  Tensor drawn_;
  int64_t done_ = 0, steps_ = 0;
};

Row row(const std::string& name, const std::string& model, GptSize size, int64_t symbols,
        double tolerance) {
  size.bias = false;
  return {
      name,
      std::to_string(symbols) + " symbols of one sequence from the GPT of " + model + ", cached",
      "generate.py",
      [=](const WorkOptions& options) -> std::unique_ptr<Work> {
        return std::make_unique<GenerateWork>(size, symbols, options);
      },
      symbols, tolerance,
      // In bf16 a number near the border of two symbols falls to either side, and what follows
      // is another sequence: nothing to compare.
      kNotCompared};
}

}  // namespace

std::vector<Row> generate_rows() {
  return {row("generate", "gpt-nano", kGptNano, 64, 1e-4),
          row("generate-char", "gpt-char", kGptChar, 64, 1e-4),
          // Among 50257 symbols of nearly equal probability borders are everywhere, in f32 too.
          row("generate-gpt2", "gpt2", kGpt2, 32, kNotCompared)};
}

}  // namespace kindred::apps::bench
