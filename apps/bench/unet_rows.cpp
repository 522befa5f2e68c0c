// Row unet: Run::step() of a U-Net on fixed random images: one denoising score matching step on the
// variance exploding path, whose loss is |F(x + sigma eps, ln(sigma)/4) + eps|^2, and Adam.
// Row unet-bits: bits/dim of a few of the images by the probability flow of such a network.
#include <cmath>
#include <numbers>

#include "apps/bench/row.h"
#include "apps/bench/row_settings.h"
#include "diffusion/gaussian.h"
#include "diffusion/likelihood.h"
#include "diffusion/score_matching.h"
#include "harness/run.h"

namespace kindred::apps::bench {

namespace {

constexpr int64_t kSide = 28, kLevels = 256, kBatch = 32, kSeed = 1;
constexpr int64_t kWidth = 32, kGroups = 8, kTimeWidth = 128;
// A rate at which rounding does not grow in the 20 steps of the comparison, in bf16 either.
constexpr double kLr = 2e-4;
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
  data::Batch batch(data::Split split, const Rng&, int64_t step, int64_t count) const override {
    return elements(split, step % kBatches * kBatch, count);
  }

 private:
  data::DataSpec spec_;
  Tensor pixels_;
};

/// The settings of both rows.
harness::Settings unet_settings(int64_t batch, double lr, const WorkOptions& options) {
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
  set(settings, "train.batch", batch);
  PlainAdam(lr).put_in(settings);
  return settings;
}

void share_network(harness::Run& run, Exchange& out) {
  out.parameters(run.objective().parameters());
  out.setting("width", kWidth);
  out.setting("groups", kGroups);
  out.setting("time_width", kTimeWidth);
  out.setting("side", kSide);
  out.setting("sigma_min", kSigmaMin);
  out.setting("sigma_max", kSigmaMax);
}

class UnetWork final : public Work {
 public:
  explicit UnetWork(const WorkOptions& options)
      : images_(std::make_shared<FixedImages>()),
        run_(unet_settings(kBatch, kLr, options), images_) {}
  void share(Exchange& out) override {
    share_network(run_, out);
    out.setting("batch", kBatch);
    PlainAdam(kLr).share(out);
    share_noise(out);
  }
  double checked_step() override { return run_.step(); }
  void step() override { run_.step(); }

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
  harness::Run run_;
};

/// After a short training, so that the flow is that of a network and not of its first weights.
class UnetBitsWork final : public Work {
 public:
  explicit UnetBitsWork(const WorkOptions& options)
      : run_(unet_settings(kBitsBatch, 10 * kLr, options), std::make_shared<FixedImages>()) {
    for (int64_t i = 0; i < kBitsTraining; ++i) run_.step();
    const Shape all{kBatches * kBitsBatch, kSide * kSide};
    const Rng rng = Rng(kSeed).split("bits");
    images_ = rng.split("images").uniform(all, DType::f64);
    for (int64_t i = 0; i < images_.numel(); ++i)
      images_.mutable_data<double>()[i] = 2 * images_.item(i) - 1;
    probes_ = Tensor::empty(all);
    for (int64_t k = 0; k < all[0]; ++k)  // as log_density() draws those of element k
      std::copy_n(diffusion::draw_probes(diffusion::Probe::rademacher, 1, {1, all[1]},
                                         kProbes.split(static_cast<uint64_t>(k)))
                      .data<float>(),
                  all[1], probes_.mutable_data<float>() + k * all[1]);
  }
  void share(Exchange& out) override {
    share_network(run_, out);
    out.setting("batch", kBitsBatch);
    out.setting("tolerance", kTolerance);
    out.tensor("images", images_);
    out.tensor("probes", probes_);
  }
  double checked_step() override { return bits(done_++ % kBatches); }
  void step() override { bits(done_++ % kBatches); }

 private:
  static constexpr int64_t kBitsBatch = 2, kBitsTraining = 40;
  static constexpr double kTolerance = 1e-5;
  static inline const Rng kProbes = Rng(kSeed).split("probes");

  /// Bits/dim of batch k on [-1, 1], 256 levels.
  double bits(int64_t k) const {
    const auto& objective = dynamic_cast<const diffusion::GaussianObjective&>(run_.objective());
    const int64_t first = k * kBitsBatch, L = kSide * kSide;
    diffusion::FlowOptions flow;
    flow.ode.rtol = flow.ode.atol = kTolerance;
    const diffusion::LogDensity density = diffusion::log_density(
        objective.denoiser(), Tensor::view(images_, first * L, {kBitsBatch, L}),
        {kSigmaMin, kSigmaMax, kSigmaMax, 0.5}, kProbes, first, flow);
    double nats = 0;
    for (const double n : density.nats) nats += n / kBitsBatch;
    return -nats / (static_cast<double>(L) * std::numbers::ln2) + std::log2(kLevels / 2.0);
  }

  mutable harness::Run run_;
  Tensor images_, probes_;  ///< [kBatches kBitsBatch, L] f64 on [-1, 1], and +-1
  int64_t done_ = 0;
};

}  // namespace

std::vector<Row> unet_rows() {
  return {{"unet", "U-Net step, 714,913 parameters, 32 images of 28x28, score matching", "unet.py",
           [](const WorkOptions& options) -> std::unique_ptr<Work> {
             return std::make_unique<UnetWork>(options);
           }},
          {"unet-bits", "bits/dim of 2 images by the probability flow of that U-Net",
           "unet_bits.py", [](const WorkOptions& options) -> std::unique_ptr<Work> {
             return std::make_unique<UnetBitsWork>(options);
           }}};
}

}  // namespace kindred::apps::bench
