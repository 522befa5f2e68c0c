// Row unet: Run::step() of a U-Net on fixed random images: one denoising score matching step on the
// variance exploding path, whose loss is |F(x + sigma eps, ln(sigma)/4) + eps|^2, and Adam.
#include "apps/bench/row.h"
#include "apps/bench/row_settings.h"
#include "diffusion/score_matching.h"
#include "harness/run.h"

namespace kindred::apps::bench {

namespace {

constexpr int64_t kSide = 28, kLevels = 256, kBatch = 32, kSeed = 1;
constexpr int64_t kWidth = 32, kGroups = 8, kTimeWidth = 128;
// A rate at which rounding does not grow in the 20 steps of the comparison, in bf16 either.
constexpr double kLr = 2e-4, kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8;
constexpr double kSigmaMin = 0.01, kSigmaMax = 50;

class FixedImages final : public data::Dataset {
 public:
  FixedImages() {
    spec_.name = "fixed random images";
    spec_.modality = data::Modality::image;
    spec_.levels = kLevels;
    spec_.height = spec_.width = kSide;
    spec_.length = kSide * kSide;
    spec_.train_size = kBatches * kBatch;
    pixels_ = Tensor::empty({kBatches, kBatch, spec_.length}, DType::i32);
    const Rng rng = Rng(kSeed).split("pixels");
    for (int64_t i = 0; i < pixels_.numel(); ++i)
      pixels_.mutable_data<int32_t>()[i] =
          static_cast<int32_t>(rng.below(kLevels, static_cast<uint64_t>(i)));
  }
  const data::DataSpec& spec() const override { return spec_; }
  int64_t size(data::Split) const override { return spec_.train_size; }
  data::Batch elements(data::Split, int64_t first, int64_t count) const override {
    data::Batch batch;
    batch.symbols = Tensor::view(pixels_, first * spec_.length, {count, spec_.length});
    return batch;
  }
  data::Batch batch(data::Split split, const Rng&, int64_t step, int64_t) const override {
    return elements(split, step % kBatches * kBatch, kBatch);
  }

 private:
  data::DataSpec spec_;
  Tensor pixels_;
};

class UnetWork final : public Work {
 public:
  explicit UnetWork(const WorkOptions& options) : images_(std::make_shared<FixedImages>()) {
    harness::Settings settings = row_settings("gaussian/unet", kSeed, options);
    set(settings, "objective.path", "ve");
    set(settings, "objective.sigma_min", kSigmaMin);
    set(settings, "objective.sigma_max", kSigmaMax);
    set(settings, "objective.sigma_data", 0.5);
    set(settings, "objective.fourier", 0);
    set(settings, "model.width", kWidth);
    set(settings, "model.mult", "1,2,4");
    set(settings, "model.blocks", 1);
    set(settings, "model.groups", kGroups);
    set(settings, "model.time_width", kTimeWidth);
    set(settings, "train.batch", kBatch);
    set(settings, "train.clip", 0);
    set(settings, "train.decay", "none");
    set(settings, "optimizer.name", "adam");
    set(settings, "optimizer.beta1", kBeta1);
    set(settings, "optimizer.beta2", kBeta2);
    set(settings, "optimizer.eps", kEps);
    set(settings, "schedule.anneal", "constant");
    set(settings, "schedule.lr", kLr);
    run_ = std::make_unique<harness::Run>(std::move(settings), images_);
  }
  void share(Exchange& out) override {
    out.parameters(run_->objective().parameters());
    out.setting("width", kWidth);
    out.setting("groups", kGroups);
    out.setting("time_width", kTimeWidth);
    out.setting("side", kSide);
    out.setting("batch", kBatch);
    out.setting("lr", kLr);
    out.setting("beta1", kBeta1);
    out.setting("beta2", kBeta2);
    out.setting("eps", kEps);
    out.setting("sigma_min", kSigmaMin);
    out.setting("sigma_max", kSigmaMax);
    share_noise(out);
  }
  double checked_step() override { return run_->step(); }
  void step() override { run_->step(); }

 private:
  /// What Run::step() will draw: images on [-1, 1] with noise inside their grey levels, noise
  /// levels, and noise.
  void share_noise(Exchange& out) const {
    const int64_t L = kSide * kSide;
    Tensor images = Tensor::empty({kBatches, kBatch, L}),
           noise = Tensor::empty({kBatches, kBatch, L});
    Tensor sigma = Tensor::empty({kBatches, kBatch});
    const auto levels = diffusion::score_levels(diffusion::ve_path(kSigmaMin, kSigmaMax));
    for (int64_t k = 0; k < kBatches; ++k) {
      const Rng rng = Rng(kSeed).split("loss").split(static_cast<uint64_t>(k));
      const Tensor pixels = images_->batch(data::Split::train, rng, k, kBatch).symbols;
      const Tensor inside = rng.split("dequantise").uniform(pixels.shape());
      const Tensor drawn = rng.split("diffusion").split("noise").normal(pixels.shape());
      const auto at =
          diffusion::draw_levels(levels, kBatch, rng.split("diffusion").split("level"), true);
      for (int64_t i = 0; i < kBatch * L; ++i)
        images.mutable_data<float>()[k * kBatch * L + i] = static_cast<float>(
            2 * (pixels.item(i) + inside.item(i)) / static_cast<double>(kLevels) - 1);
      std::copy_n(drawn.data<float>(), kBatch * L, noise.mutable_data<float>() + k * kBatch * L);
      for (int64_t b = 0; b < kBatch; ++b)
        sigma.mutable_data<float>()[k * kBatch + b] =
            static_cast<float>(at[static_cast<std::size_t>(b)]);
    }
    out.tensor("images", images);
    out.tensor("noise", noise);
    out.tensor("sigma", sigma);
  }

  std::shared_ptr<FixedImages> images_;
  std::unique_ptr<harness::Run> run_;
};

}  // namespace

std::vector<Row> unet_rows() {
  return {{"unet", "U-Net step, 714,913 parameters, 32 images of 28x28, score matching", "unet.py",
           [](const WorkOptions& options) -> std::unique_ptr<Work> {
             return std::make_unique<UnetWork>(options);
           }}};
}

}  // namespace kindred::apps::bench
