// Rows gpt-*: Run::step() of a GPT: forward, backward, clip to norm 1, AdamW.
#include "apps/bench/gpt_rows.h"

#include "apps/bench/row_settings.h"

namespace kindred::apps::bench {

namespace {
constexpr double kBeta1 = 0.9, kBeta2 = 0.99, kEps = 1e-8, kDecay = 0.01, kClip = 1;
constexpr int64_t kSeed = 1;
}  // namespace

FixedText::FixedText(const GptSize& size) {
  spec_.name = "fixed random symbols";
  spec_.modality = data::Modality::text;
  spec_.levels = size.vocab;
  spec_.length = spec_.width = size.context;
  symbols_ = Tensor::empty({kBatches, size.batch, size.context + 1}, DType::i32);
  const Rng rng = Rng(kSeed).split("symbols");
  for (int64_t i = 0; i < symbols_.numel(); ++i)
    symbols_.mutable_data<int32_t>()[i] = static_cast<int32_t>(
        rng.below(static_cast<uint64_t>(size.vocab), static_cast<uint64_t>(i)));
  spec_.train_size = symbols_.numel();
}

data::Batch FixedText::elements(data::Split, int64_t, int64_t) const {
  fail(Fault::usage, "bench", "fixed symbols have no elements");
}

data::Batch FixedText::batch(data::Split, const Rng&, int64_t step, int64_t) const {
  const Shape window{symbols_.dim(1), symbols_.dim(2)};
  data::Batch batch;
  batch.symbols = Tensor::view(symbols_, step % kBatches * window.numel(), window);
  return batch;
}

std::unique_ptr<harness::Run> make_gpt(const GptSize& size, std::shared_ptr<FixedText> text,
                                       const WorkOptions& options) {
  harness::Settings settings = row_settings("ar/attention", kSeed, options);
  set(settings, "model.layers", size.layers);
  set(settings, "model.heads", size.heads);
  set(settings, "model.width", size.width);
  set(settings, "model.bias", size.bias ? "true" : "false");
  set(settings, "model.norm", size.bias ? "ln" : "ln_nobias");
  set(settings, "model.ffn", "gelu_erf");
  set(settings, "train.batch", size.batch);
  set(settings, "train.clip", kClip);
  set(settings, "train.decay", "all");
  set(settings, "optimizer.name", "adamw");
  set(settings, "optimizer.beta1", kBeta1);
  set(settings, "optimizer.beta2", kBeta2);
  set(settings, "optimizer.eps", kEps);
  set(settings, "optimizer.weight_decay", kDecay);
  set(settings, "schedule.anneal", "constant");
  set(settings, "schedule.lr", size.lr);
  return std::make_unique<harness::Run>(std::move(settings), std::move(text));
}

void share_gpt(const GptSize& size, harness::Run& run, Exchange& out) {
  out.setting("layers", size.layers);
  out.setting("heads", size.heads);
  out.setting("width", size.width);
  out.setting("context", size.context);
  out.setting("vocab", size.vocab);
  out.setting("bias", size.bias);
  out.parameters(run.objective().parameters());
}

namespace {

class GptWork final : public Work {
 public:
  GptWork(const GptSize& size, const WorkOptions& options)
      : size_(size),
        text_(std::make_shared<FixedText>(size)),
        run_(make_gpt(size, text_, options)) {}
  void share(Exchange& out) override {
    share_gpt(size_, *run_, out);
    out.tensor("batches", text_->symbols());
    out.setting("lr", size_.lr);
    out.setting("beta1", kBeta1);
    out.setting("beta2", kBeta2);
    out.setting("eps", kEps);
    out.setting("weight_decay", kDecay);
    out.setting("clip", kClip);
  }
  double checked_step() override { return run_->step(); }
  void step() override { run_->step(); }

 private:
  GptSize size_;
  std::shared_ptr<FixedText> text_;
  std::unique_ptr<harness::Run> run_;
};

Row row(const std::string& name, const std::string& summary, const GptSize& size) {
  return {name, summary, "gpt.py", [size](const WorkOptions& options) -> std::unique_ptr<Work> {
            return std::make_unique<GptWork>(size, options);
          }};
}

}  // namespace

std::vector<Row> gpt_rows() {
  return {
      row("gpt-nano", "GPT step, 4 layers of width 128, 12 x 64 symbols, 0.80 M parameters",
          kGptNano),
      row("gpt-char", "GPT step, 6 layers of width 384, 8 x 256 symbols, 10.7 M parameters",
          kGptChar),
      row("gpt2", "GPT-2 step, 12 layers of width 768, 4 x 64 symbols, 124 M parameters", kGpt2)};
}

}  // namespace kindred::apps::bench
