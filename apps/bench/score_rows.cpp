// Rows scores-*: Run::step() of score matching in the plane by an MLP 2-128-128-2 and Adam. Losses
// with derivatives of the network in them need second derivatives to train, those of an energy
// third ones. B batch, D = 2.
#include "apps/bench/row.h"
#include "apps/bench/row_settings.h"
#include "diffusion/matching.h"
#include "diffusion/model_units.h"
#include "harness/run.h"

namespace kindred::apps::bench {

namespace {

constexpr int64_t kDims = 2, kBatch = 128, kSeed = 1, kWidth = 128;
constexpr double kSigma = 0.1, kLr = 1e-3;

/// Two Gaussians.
class FixedPoints final : public data::Dataset {
 public:
  FixedPoints() {
    spec_.name = "fixed random points";
    spec_.modality = data::Modality::points;
    spec_.length = spec_.width = kDims;
    spec_.train_size = kBatches * kBatch;
    const Rng rng = Rng(kSeed).split("points");
    points_ = rng.normal({spec_.train_size, kDims});
    for (int64_t i = 0; i < spec_.train_size; ++i)
      points_.mutable_data<float>()[kDims * i] +=
          rng.split("mode").below(2, static_cast<uint64_t>(i)) == 0 ? 2.0f : -2.0f;
  }
  const data::DataSpec& spec() const override { return spec_; }
  int64_t size(data::Split) const override { return spec_.train_size; }
  data::Batch elements(data::Split, int64_t first, int64_t count) const override {
    data::Batch batch;
    batch.values = Tensor::view(points_, first * kDims, {count, kDims});
    return batch;
  }
  data::Batch batch(data::Split split, const Rng&, int64_t step, int64_t) const override {
    return elements(split, step % kBatches * kBatch, kBatch);
  }

 private:
  data::DataSpec spec_;
  Tensor points_;
};

class ScoreWork final : public Work {
 public:
  ScoreWork(const std::string& network, const std::string& loss, const WorkOptions& options)
      : points_(std::make_shared<FixedPoints>()), network_(network), loss_(loss) {
    harness::Settings settings = row_settings("score/mlp", kSeed, options);
    set(settings, "objective.network", network);
    set(settings, "objective.loss", loss);
    set(settings, "objective.sigma", loss == "denoising" ? kSigma : 0);
    set(settings, "model.width", kWidth);
    set(settings, "model.depth", 2);
    set(settings, "model.activation", "silu");
    set(settings, "train.batch", kBatch);
    PlainAdam(kLr).put_in(settings);
    run_ = std::make_unique<harness::Run>(std::move(settings), points_);
  }
  void share(Exchange& out) override {
    out.parameters(run_->objective().parameters());
    out.setting("network", network_);
    out.setting("loss", loss_);
    out.setting("sigma", kSigma);
    out.setting("width", kWidth);
    out.setting("batch", kBatch);
    PlainAdam(kLr).share(out);
    share_draws(out);
  }
  double checked_step() override { return run_->step(); }
  void step() override { run_->step(); }

 private:
  /// Points in model units, and what Run::step() will draw for them: noise or probes.
  void share_draws(Exchange& out) const {
    const Shape all{kBatches, kBatch, kDims};
    Tensor points = Tensor::empty(all), drawn = Tensor::empty(all);
    const auto batch_of = [&](int64_t k) {
      return points_->elements(data::Split::train, k * kBatch, kBatch);
    };
    const diffusion::Moments m = diffusion::moments(batch_of(0), 0);  // a run takes them once
    for (int64_t k = 0; k < kBatches; ++k) {
      const Rng rng = Rng(kSeed).split("loss").split(static_cast<uint64_t>(k));
      const Tensor x = batch_of(k).values;
      const Tensor own = loss_ == "denoising"
                             ? rng.split("noise").normal(x.shape())
                             : diffusion::draw_probes(diffusion::Probe::rademacher, 1, x.shape(),
                                                      rng.split("probe"));
      for (int64_t i = 0; i < x.numel(); ++i)
        points.mutable_data<float>()[k * x.numel() + i] =
            static_cast<float>((x.item(i) - m.mean) / m.sd);
      std::copy_n(own.data<float>(), x.numel(), drawn.mutable_data<float>() + k * x.numel());
    }
    out.tensor("points", points);
    out.tensor("drawn", drawn);
  }

  std::shared_ptr<FixedPoints> points_;
  std::string network_, loss_;
  std::unique_ptr<harness::Run> run_;
};

Row row(const std::string& name, const std::string& network, const std::string& loss,
        const std::string& summary) {
  return {name, summary + ", MLP 2-128-128-2, 128 points", "scores.py",
          [network, loss](const WorkOptions& options) -> std::unique_ptr<Work> {
            return std::make_unique<ScoreWork>(network, loss, options);
          }};
}

}  // namespace

std::vector<Row> score_rows() {
  return {row("scores-implicit", "score", "implicit", "score matching, exact trace"),
          row("scores-sliced", "score", "sliced_vr", "sliced score matching, variance-reduced"),
          row("scores-denoising", "score", "denoising", "denoising score matching"),
          row("scores-energy", "energy", "sliced_vr", "sliced score matching of an energy")};
}

}  // namespace kindred::apps::bench
