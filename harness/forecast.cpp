#include "harness/forecast.h"

#include <cmath>
#include <cstdio>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/squared_error.h"
#include "harness/config.h"

namespace kindred::harness {

namespace {
constexpr double kStd = 0.02;

/// [D], or `fallback` everywhere if the data set names none.
Tensor per_channel(const std::vector<double>& values, int64_t D, double fallback) {
  Tensor result = Tensor::full({D}, fallback);
  if (values.empty()) return result;
  check(static_cast<int64_t>(values.size()) == D, "forecast", values.size(), " statistics for ", D,
        " target channels");
  for (int64_t d = 0; d < D; ++d)
    result.mutable_data<float>()[d] = static_cast<float>(values[static_cast<std::size_t>(d)]);
  return result;
}

/// Running mean and sum of squared deviations of one channel (Welford 1962).
struct Spread {
  double count = 0, mean = 0, squares = 0;
  void add(double y) {
    ++count;
    const double step = y - mean;
    mean += step / count;
    squares += step * (y - mean);
  }
};
}  // namespace

Forecast::Forecast(const data::DataSpec& spec, const SupervisedSettings& own,
                   const BackboneEntry& entry, Settings& settings, const Rng& rng)
    : spec_(spec),
      net_(spec, own.config, own.width, entry, settings, rng),
      head_(nn::Linear::make(own.width, spec.target_channels, true, rng.split("head"), kStd)),
      mean_(per_channel(spec.target_mean, spec.target_channels, 0)),
      scale_(per_channel(spec.target_std, spec.target_channels, 1)) {
  for (int64_t d = 0; d < spec.target_channels; ++d)
    check(scale_.item(d) > 0, "forecast", "data \"", spec.name, "\": target channel ", d,
          " has the deviation ", scale_.item(d));
}

Tensor Forecast::standardised(const data::Batch& batch, const Context& context) const {
  return head_(net_.rows(batch, context));
}

Tensor Forecast::predict(const data::Batch& batch, const LikelihoodOptions& options) const {
  return add(mul(standardised(batch, scoring_context(options)), scale_), mean_);
}

Tensor Forecast::targets(const data::Batch& batch) const {
  const Tensor& y = batch.targets;
  check(y.defined() && y.rank() == 3 && y.dim(1) == spec_.targets &&
            y.dim(2) == spec_.target_channels && y.dtype() != DType::i32,
        "forecast", "wants targets f32 [B, ", spec_.targets, ", ", spec_.target_channels, "], got ",
        y.defined() ? y.shape().str() : "none");
  return y;
}

Tensor Forecast::loss(const data::Batch& batch, const Rng& rng, bool training) const {
  const Tensor wanted = div(sub(targets(batch), mean_), scale_);
  return mean_squared_error(standardised(batch, supervised_context(rng, training, recompute)),
                            wanted);
}

Likelihood Forecast::likelihood(const data::Dataset& data, data::Split split, const Rng&,
                                const LikelihoodOptions& options) const {
  const NoGrad no_grad;
  const int64_t T = spec_.targets, D = spec_.target_channels;
  std::vector<Spread> spread(static_cast<std::size_t>(D));
  Likelihood result;
  for_each_batch(data, split, options, [&](const data::Batch& batch, int64_t count) {
    const Tensor y = targets(batch), guess = predict(batch, options);
    for (int64_t b = 0; b < count; ++b) {
      double squares = 0;
      for (int64_t i = 0; i < T * D; ++i) {
        const double truth = y.item(b * T * D + i), error = guess.item(b * T * D + i) - truth;
        squares += error * error;
        spread[static_cast<std::size_t>(i % D)].add(truth);
      }
      if (!std::isfinite(squares))
        fail(Fault::numeric, "likelihood", "the squared error of an element is ", squares,
             "; the model has diverged");
      result.bits.push_back(squares);
      result.symbols.push_back(static_cast<double>(T * D));
    }
  });
  check(!result.bits.empty(), "likelihood", "no targets to score in ", data::name(split));
  double constant = 0, scored = 0;  // error of the best constant of each channel
  for (const Spread& s : spread) {
    constant += s.squares;
    scored += s.count;
  }
  constant /= scored;
  result.unit = score_unit();
  const double mse = result.bits_per_symbol();
  result.evaluations = 1;
  result.metrics = {
      {"mse", mse}, {"rmse", std::sqrt(mse)}, {"rmse_over_std", std::sqrt(mse / constant)}};
  char note[64];
  std::snprintf(note, sizeof note, "; the best constant has MSE %.6g", constant);
  result.note = net_.readout() + note;
  return result;
}

Tensor Forecast::sample(const Rng&, const SampleOptions&) const {
  fail(Fault::usage, "sample", "forecast has nothing to draw; use kindred predict");
}

Parity Forecast::parity(const data::Batch& batch) const { return net_.parity(batch, head_); }

std::vector<nn::NamedParameter> Forecast::parameters() {
  std::vector<nn::NamedParameter> found;
  net_.parameters(found);
  for (const nn::NamedParameter& p : nn::parameters_of(head_, "head")) found.push_back(p);
  return found;
}

double Forecast::expected_initial_loss() const {
  return 1 + kStd * kStd * static_cast<double>(net_.width());
}

namespace {
std::unique_ptr<Objective> make_forecast(const data::DataSpec& spec, const std::string& backbone,
                                         Settings& settings, const Rng& rng) {
  check(spec.target_channels > 0, "forecast", "data \"", spec.name, "\" have no real targets; ",
        spec.classes > 0 ? "their targets are classes: choose the objective classify"
                         : "choose data with targets (kindred data list)");
  const SupervisedSettings own = read_supervised(settings);
  return std::make_unique<Forecast>(spec, own, find_backbone(backbone), settings, rng);
}

const RegisterObjective registered({"forecast",
                                    "real targets of sequences by least squares; scored by the "
                                    "mean squared error",
                                    make_forecast});
}  // namespace

}  // namespace kindred::harness
