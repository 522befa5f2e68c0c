#include "data/signals.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <memory>
#include <new>
#include <numbers>

#include "autodiff/ops/fft.h"

namespace kindred::data {

namespace {
constexpr int64_t kLongest = 1 << 20;
constexpr double kRms = 0.5;
/// Of tanh(x - 1) on the attractor of Mackey and Glass.
constexpr double kMackeyGlassMean = -0.067, kMackeyGlassStd = 0.217;

/// Complex numbers aligned as the transform wants them, zeros at first.
class Spectrum {
 public:
  explicit Spectrum(int64_t n)
      : data_(static_cast<std::complex<double>*>(
            ::operator new(static_cast<std::size_t>(n) * sizeof(std::complex<double>), kAlign))) {
    std::uninitialized_fill_n(data_, n, std::complex<double>());
  }
  Spectrum(const Spectrum&) = delete;
  Spectrum& operator=(const Spectrum&) = delete;
  ~Spectrum() { ::operator delete(data_, kAlign); }
  std::complex<double>* data() { return data_; }
  std::complex<double>& operator[](int64_t k) { return data_[k]; }

 private:
  static constexpr std::align_val_t kAlign{64};
  std::complex<double>* data_;
};

/// value / step as a whole number.
int64_t in_steps(const char* name, int64_t value, double step) {
  const double steps = static_cast<double>(value) / step;
  check(steps == std::floor(steps) && steps >= 1, "data", name, " = ", value,
        " source steps are no whole number of samples at rate = ", step);
  return static_cast<int64_t>(steps);
}

double band_limit(const TaskOptions& o, double otherwise) {
  const double f = o.frequency == 0 ? otherwise : o.frequency;
  check(f > 0 && f <= 0.5, "data", "frequency = ", f,
        " cycles a step; more than 0 and at most 0.5, which is white noise");
  return f;
}

/// The part of a signal that is given, the part that is asked for, and how.
struct Forecast {
  int64_t given = 0, ahead = 0, horizon = 0;
  int64_t samples() const { return given + ahead + horizon; }
};

/// Both ways of asking for the future; in samples.
Forecast forecast_of(const TaskOptions& o, int64_t length, int64_t ahead, double step) {
  check(o.ahead == 0 || o.horizon == 0, "data", "ahead = ", o.ahead, " and horizon = ", o.horizon,
        ": choose one way of looking into the future");
  Forecast f;
  f.given = in_steps("length", option_or("length", o.length, length, 8, kLongest), step);
  if (o.horizon != 0)
    f.horizon = in_steps("horizon", option_or("horizon", o.horizon, 0, 1, kLongest), step);
  else
    f.ahead = in_steps("ahead", option_or("ahead", o.ahead, ahead, 1, kLongest), step);
  return f;
}

Task forecast_task(const Forecast& f, double mean, double std,
                   std::function<std::vector<double>(const Rng&)> series) {
  Task task;
  task.train = 10000;
  task.held_out = 500;
  task.spec.in_channels = f.horizon ? 2 : 1;
  task.spec.length = f.given + f.horizon;
  task.spec.targets = f.horizon ? f.horizon : f.given;
  task.spec.causal = f.ahead > 0;
  task.spec.target_channels = 1;
  task.spec.target_mean = {mean};
  task.spec.target_std = {std};
  task.draw = [f, series = std::move(series)](const Rng& rng, TaskElement& e) {
    const std::vector<double> x = series(rng);
    const std::size_t channels = f.horizon ? 2 : 1;
    for (std::size_t t = 0; t < static_cast<std::size_t>(f.given); ++t)
      e.values[t * channels] = static_cast<float>(x[t]);
    for (std::size_t t = 0; t < static_cast<std::size_t>(f.horizon); ++t)
      e.values[(static_cast<std::size_t>(f.given) + t) * 2 + 1] = 1;  // asked for
    const auto first = static_cast<std::size_t>(f.horizon ? f.given : f.ahead);
    for (std::size_t t = 0; t < e.reals.size(); ++t) e.reals[t] = static_cast<float>(x[first + t]);
  };
  return task;
}
}  // namespace

std::vector<double> white_signal(int64_t samples, double frequency, double step, double rms,
                                 const Rng& rng) {
  const double source = static_cast<double>(samples) * step;
  const auto n = static_cast<int64_t>(std::ceil(source / 2));
  const double period_samples = static_cast<double>(2 * n) / step;
  const auto M = static_cast<int64_t>(period_samples);
  const auto highest =
      std::min(n, static_cast<int64_t>(std::floor(frequency * static_cast<double>(2 * n) + 1e-9)));
  check(period_samples == static_cast<double>(M), "data", "rate = ", step, " does not divide ",
        2 * n, " source steps");
  check(step == 1 || 2 * highest < M, "data", "frequency = ", frequency,
        " is not below the Nyquist limit of samples at rate = ", step);
  check(highest >= 1, "data", "frequency = ", frequency, " is less than one cycle in ", source,
        " steps");
  const double sigma = rms * std::sqrt(0.5);
  const double power = static_cast<double>(highest) / static_cast<double>(n);  // 1 - zeroed / n
  const double size = sigma / std::sqrt(power) / std::sqrt(2.0 * static_cast<double>(n));
  Spectrum coefficients(M), signal(M);
  for (int64_t k = 1; k <= highest; ++k) {
    // 2 Re(c e) stands for the conjugate pair; the bin of the Nyquist limit has no partner.
    const std::complex<double> c(rng.normal(2 * k), k == n ? 0 : rng.normal(2 * k + 1));
    coefficients[k] = (k == n ? 1 : 2) * size * c;
  }
  Fft<double>(M).inverse(coefficients.data(), signal.data());
  std::vector<double> x(static_cast<std::size_t>(samples));
  for (int64_t i = 0; i < samples; ++i)
    x[static_cast<std::size_t>(i)] = signal[i].real() - signal[0].real();
  return x;
}

std::vector<double> mackey_glass(int64_t samples, const Rng& rng) {
  constexpr int64_t kDelay = 17, kSubsteps = 10, kWashout = 100, kHistory = kDelay * kSubsteps;
  std::vector<double> past(static_cast<std::size_t>(kHistory));  // a ring of the last 17 units
  for (int64_t i = 0; i < kHistory; ++i)
    past[static_cast<std::size_t>(i)] = 1.2 + 0.2 * (rng.uniform(i) - 0.5);
  std::vector<double> series;
  double x = 1.2;
  std::size_t oldest = 0;
  for (int64_t t = 0; t < kWashout + samples; ++t) {
    for (int64_t k = 0; k < kSubsteps; ++k) {
      const double delayed = past[oldest];
      past[oldest] = x;
      oldest = oldest + 1 == past.size() ? 0 : oldest + 1;
      x += (0.2 * delayed / (1 + std::pow(delayed, 10)) - 0.1 * x) / kSubsteps;
    }
    if (t >= kWashout) series.push_back(std::tanh(x - 1));
  }
  return series;
}

Task delay_task(const TaskOptions& o) {
  const int64_t length = option_or("length", o.length, 4000, 8, kLongest);
  const int64_t lag = option_or("lag", o.lag, length / 4, 1, length - 1);
  const double frequency = band_limit(o, 0.25);
  Task task;
  task.spec.in_channels = task.spec.target_channels = 1;
  task.spec.length = length;
  task.spec.targets = length - lag;
  task.spec.target_std = {kRms * std::numbers::sqrt2};  // of the difference of two samples
  task.spec.target_mean = {0};
  task.draw = [=](const Rng& rng, TaskElement& e) {
    const std::vector<double> x = white_signal(length, frequency, 1, kRms, rng);
    std::copy(x.begin(), x.end(), e.values.begin());
    std::copy_n(x.begin(), e.reals.size(), e.reals.begin());
  };
  return task;
}

Task reconstruct_task(const TaskOptions& o) {
  const int64_t length = option_or("length", o.length, 4000, 8, kLongest);
  const int64_t window = option_or("lag", o.lag, length / 4, 1, length);
  const double frequency = band_limit(o, 0.1);
  Task task;
  task.spec.in_channels = task.spec.targets = 1;
  task.spec.length = length;
  task.spec.target_channels = window;
  task.spec.target_mean.assign(static_cast<std::size_t>(window), 0);
  task.spec.target_std.assign(static_cast<std::size_t>(window), kRms * std::numbers::sqrt2);
  task.draw = [=](const Rng& rng, TaskElement& e) {
    const std::vector<double> x = white_signal(length, frequency, 1, kRms, rng);
    std::copy(x.begin(), x.end(), e.values.begin());
    std::copy(x.end() - window, x.end(), e.reals.begin());
  };
  return task;
}

Task mackey_glass_task(const TaskOptions& o) {
  const Forecast f = forecast_of(o, 5000, 15, 1);
  return forecast_task(f, kMackeyGlassMean, kMackeyGlassStd,
                       [n = f.samples()](const Rng& rng) { return mackey_glass(n, rng); });
}

Task white_signal_task(const TaskOptions& o) {
  check(o.rate > 0, "data", "rate = ", o.rate, " is not positive");
  const Forecast f = forecast_of(o, 1024, 16, o.rate);
  const double frequency = band_limit(o, 0.02);
  Task task = forecast_task(f, 0, kRms * std::numbers::sqrt2,
                            [n = f.samples(), frequency, step = o.rate](const Rng& rng) {
                              // Half a period, or the end would lead back to the known start.
                              std::vector<double> x =
                                  white_signal(2 * n, frequency, step, kRms, rng);
                              x.resize(static_cast<std::size_t>(n));
                              return x;
                            });
  task.spec.rate = o.rate;
  return task;
}

}  // namespace kindred::data
