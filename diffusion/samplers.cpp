#include "diffusion/samplers.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/parallel.h"

namespace kindred::diffusion {

namespace {
void check_state(const char* where, const Tensor& x) {
  check(x.rank() == 2 && x.dtype() == DType::f64, where, "the state must be [B, D] f64, got ",
        x.shape(), ' ', name(x.dtype()));
}

/// a x + b y + c z elementwise; z may be undefined.
Tensor combine(double a, const Tensor& x, double b, const Tensor& y, double c = 0,
               const Tensor& z = {}) {
  check(x.shape() == y.shape() && y.dtype() == DType::f64, "sampler", "state ", x.shape(),
        " f64 meets ", y.shape(), ' ', name(y.dtype()));
  Tensor out = Tensor::empty(x.shape(), DType::f64);
  double* o = out.mutable_data<double>();
  const double *px = x.data<double>(), *py = y.data<double>();
  const double* pz = z.defined() ? z.data<double>() : nullptr;
  parallel_for(x.numel(), kGrain, [=](int64_t begin, int64_t end) {
    if (pz) {
      for (int64_t i = begin; i < end; ++i) o[i] = a * px[i] + b * py[i] + c * pz[i];
    } else {
      for (int64_t i = begin; i < end; ++i) o[i] = a * px[i] + b * py[i];
    }
  });
  return out;
}

Tensor levels_of(const Tensor& x, double sigma) {
  return Tensor::full({x.dim(0)}, sigma, DType::f64);
}

/// Calls the hooks of one sampler with their running numbers.
class Hooked {
 public:
  explicit Hooked(const StepHooks& hooks) : hooks_(hooks) {}
  void constrain(Tensor& x, double a, double s) {
    if (hooks_.constrain) hooks_.constrain(x, a, s, calls_++);
  }
  /// The state after a step.
  void trace(const Tensor& x, double a, double s) {
    if (hooks_.trace) hooks_.trace(steps_++, s / a, a == 1 ? x : scale(x, 1 / a));
  }
  void start(Tensor& x, double a, double s) {
    if (hooks_.constrain) x = x.clone();  // the caller's start stays as it is
    constrain(x, a, s);
    trace(x, a, s);
  }
  /// Ends a sampler with E[x0 | x].
  Tensor end(Tensor denoised) {
    constrain(denoised, 1, 0);
    trace(denoised, 1, 0);
    return denoised;
  }

 private:
  const StepHooks& hooks_;
  int64_t calls_ = 0, steps_ = 0;
};

/// Euclidean norm of each row.
std::vector<double> row_norms(const Tensor& x) {
  const int64_t rows = x.dim(0), dims = x.dim(1);
  std::vector<double> norms(rows);
  for (int64_t i = 0; i < rows; ++i) {
    const double* p = x.data<double>() + i * dims;
    double squares = 0;
    for (int64_t d = 0; d < dims; ++d) squares += p[d] * p[d];
    norms[i] = std::sqrt(squares);
  }
  return norms;
}
}  // namespace

Tensor SampleStreams::normal(const Shape& shape, std::string_view purpose, int64_t step) const {
  check(shape.rank() == 2, "sample streams", "needs [B, D], got ", shape);
  Tensor out = Tensor::empty(shape, DType::f64);
  const int64_t dims = shape[1], grain = std::max<int64_t>(1, 4 * kGrain / (dims + 8));
  parallel_for(shape[0], grain, [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const Rng stream = rng_.split(static_cast<uint64_t>(first_ + k))
                             .split(purpose)
                             .split(static_cast<uint64_t>(step));
      const Tensor z = stream.normal({dims}, DType::f64);
      std::copy_n(z.data<double>(), dims, out.mutable_data<double>() + k * dims);
    }
  });
  return out;
}

Tensor langevin(const std::function<Tensor(const Tensor& x)>& score, Tensor x, double alpha,
                int64_t steps, const SampleStreams& streams, StepConvention convention,
                const StepHooks& hooks) {
  check_state("langevin", x);
  check(alpha > 0, "langevin", "the step size must be positive, got ", alpha);
  const NoGrad no_graph;
  Hooked hooked(hooks);
  if (convention == StepConvention::song) alpha *= 2;
  hooked.start(x, 1, 0);
  for (int64_t i = 0; i < steps; ++i) {
    x = combine(1, x, alpha / 2, score(x), std::sqrt(alpha),
                streams.normal(x.shape(), "langevin", i));
    hooked.constrain(x, 1, 0);
    hooked.trace(x, 1, 0);
  }
  return x;
}

std::vector<double> geometric_levels(double first, double last, int64_t count) {
  check(first > 0 && last > 0 && count >= 2, "geometric_levels", count, " levels from ", first,
        " to ", last);
  std::vector<double> levels(count);
  for (int64_t i = 0; i < count; ++i)
    levels[i] =
        first * std::pow(last / first, static_cast<double>(i) / static_cast<double>(count - 1));
  return levels;
}

Tensor annealed_langevin(const Denoiser& denoiser, Tensor x, const AnnealedLangevinOptions& options,
                         const SampleStreams& streams, const StepHooks& hooks) {
  check_state("annealed_langevin", x);
  check(!options.sigmas.empty(), "annealed_langevin", "needs at least one noise level");
  check(options.epsilon > 0, "annealed_langevin", "the step size must be positive, got ",
        options.epsilon);
  const NoGrad no_graph;
  const double last = options.sigmas.back();
  int64_t step = 0;
  Hooked hooked(hooks);
  hooked.start(x, 1, options.sigmas.front());
  for (const double sigma : options.sigmas) {
    double alpha = options.epsilon * (sigma / last) * (sigma / last);
    if (options.convention == StepConvention::song) alpha *= 2;
    const Tensor level = levels_of(x, sigma);
    const double pull = alpha / (2 * sigma * sigma);  // (alpha/2) score = pull (D - x)
    for (int64_t i = 0; i < options.steps_per_level; ++i) {
      x = combine(1 - pull, x, pull, denoiser(x, level), std::sqrt(alpha),
                  streams.normal(x.shape(), "annealed", step++));
      hooked.constrain(x, 1, sigma);
      hooked.trace(x, 1, sigma);
    }
  }
  return options.final_denoise ? hooked.end(denoiser(x, levels_of(x, last))) : x;
}

Predictor parse_predictor(const std::string& name) {
  constexpr std::pair<const char*, Predictor> kNames[] = {
      {"none", Predictor::none},
      {"euler_maruyama", Predictor::euler_maruyama},
      {"reverse_diffusion", Predictor::reverse_diffusion},
      {"ancestral", Predictor::ancestral},
      {"ancestral_small", Predictor::ancestral_small},
      {"ddim", Predictor::ddim}};
  std::string known;
  for (const auto& [text, predictor] : kNames) {
    if (name == text) return predictor;
    known += std::string(known.empty() ? "" : ", ") + text;
  }
  fail(Fault::usage, "predictor", "unknown predictor '", name, "'; known: ", known);
}

namespace {
/// One predictor step from t to `next`.
Tensor predict(const GaussianPath& path, const Denoiser& denoiser, const Tensor& x, double t,
               double next, const PredictorCorrectorOptions& options, const SampleStreams& streams,
               int64_t step) {
  const double a = path.a(t), s = path.s(t), a1 = path.a(next), s1 = path.s(next);
  const double r = a / a1, g2 = s * s - r * r * s1 * s1;
  if (options.predictor == Predictor::none) return x;
  const Tensor d = denoise(path, denoiser, x, t);
  const Tensor z = streams.normal(x.shape(), "predictor", step);
  // score = (a D - x) / s^2: each rule becomes (coefficient of x, coefficient of D, noise).
  const auto with_score = [&](double of_x, double of_score, double noise) {
    return combine(of_x - of_score / (s * s), x, of_score * a / (s * s), d, noise, z);
  };
  switch (options.predictor) {
    case Predictor::euler_maruyama: {
      const double h = t - next, g = path.g2(t);
      return with_score(1 - path.f(t) * h, g * h, std::sqrt(g * h));
    }
    case Predictor::reverse_diffusion:
      return with_score(2 - r, g2, std::sqrt(g2));
    case Predictor::ancestral:
      return with_score(1 / r, g2 / r, std::sqrt(g2));
    case Predictor::ancestral_small:
      return with_score(1 / r, g2 / r, std::sqrt(g2) * s1 / s);
    case Predictor::ddim: {
      const double v = options.eta * options.eta * g2 * s1 * s1 / (s * s);
      const double of_eps = std::sqrt(std::max(0.0, s1 * s1 - v));  // eps = (x - a D) / s
      return combine(of_eps / s, x, a1 - of_eps * a / s, d, std::sqrt(v), z);
    }
    case Predictor::none:
      break;
  }
  return x;
}

/// One Langevin corrector step at time t.
Tensor correct(const GaussianPath& path, const Denoiser& denoiser, const Tensor& x, double t,
               double alpha, const PredictorCorrectorOptions& options, const SampleStreams& streams,
               int64_t step) {
  const Tensor gradient = score(path, denoiser, x, t);
  const Tensor z = streams.normal(x.shape(), "corrector", step);
  const int64_t rows = x.dim(0), dims = x.dim(1);
  std::vector<double> ratios(rows, path.s(t));  // |z| / |score|
  if (options.norms != Norms::level) {
    const std::vector<double> of_z = row_norms(z), of_score = row_norms(gradient);
    const auto total = [](const std::vector<double>& v) {
      return std::accumulate(v.begin(), v.end(), 0.0);
    };
    // A score of exactly 0, as of a network before its first step, moves nothing.
    const auto ratio = [](double noise, double score) { return score > 0 ? noise / score : 0; };
    const double of_batch = ratio(total(of_z), total(of_score));
    for (int64_t i = 0; i < rows; ++i)
      ratios[i] = options.norms == Norms::batch ? of_batch : ratio(of_z[i], of_score[i]);
  }
  Tensor out = Tensor::empty(x.shape(), DType::f64);
  for (int64_t i = 0; i < rows; ++i) {
    const double along = options.snr * ratios[i], epsilon = 2 * alpha * along * along;
    const double root = std::sqrt(2 * epsilon);
    for (int64_t k = i * dims; k < (i + 1) * dims; ++k)
      out.mutable_data<double>()[k] =
          x.data<double>()[k] + epsilon * gradient.data<double>()[k] + root * z.data<double>()[k];
  }
  return out;
}
}  // namespace

Tensor predictor_corrector(const GaussianPath& path, const Denoiser& denoiser, Tensor x,
                           const PredictorCorrectorOptions& options, const SampleStreams& streams,
                           const StepHooks& hooks) {
  check_state("predictor_corrector", x);
  std::vector<double> times = options.times;
  if (times.empty()) {
    check(options.steps >= 1, "predictor_corrector", "needs at least one step, got ",
          options.steps);
    for (int64_t i = 0; i <= options.steps; ++i)
      times.push_back(path.t_max + (path.t_sample - path.t_max) * static_cast<double>(i) /
                                       static_cast<double>(options.steps));
  }
  const NoGrad no_graph;
  Hooked hooked(hooks);
  hooked.start(x, path.a(times.front()), path.s(times.front()));
  for (std::size_t i = 0; i + 1 < times.size(); ++i) {
    const double t = times[i], next = times[i + 1], r = path.a(t) / path.a(next);
    const auto step = static_cast<int64_t>(i);
    const auto corrections = [&](double at) {
      for (int64_t k = 0; k < options.corrector_steps; ++k) {
        x = correct(path, denoiser, x, at, r * r, options, streams,
                    step * options.corrector_steps + k);
        hooked.constrain(x, path.a(at), path.s(at));
      }
    };
    if (options.corrector_first) corrections(t);
    x = predict(path, denoiser, x, t, next, options, streams, step);
    hooked.constrain(x, path.a(next), path.s(next));
    if (!options.corrector_first) corrections(next);
    hooked.trace(x, path.a(next), path.s(next));
  }
  return options.final_denoise ? hooked.end(denoise(path, denoiser, x, times.back())) : x;
}

std::vector<double> karras_levels(const HeunOptions& options) {
  check(options.steps >= 2 && options.sigma_min > 0 && options.sigma_max > options.sigma_min,
        "heun", options.steps, " steps (at least 2) from sigma_max ", options.sigma_max,
        " to sigma_min ", options.sigma_min);
  std::vector<double> sigma(options.steps + 1, 0.0);
  const double high = std::pow(options.sigma_max, 1 / options.rho),
               low = std::pow(options.sigma_min, 1 / options.rho);
  for (int64_t i = 0; i < options.steps; ++i) {
    const double fraction = static_cast<double>(i) / static_cast<double>(options.steps - 1);
    sigma[i] = std::pow(high + fraction * (low - high), options.rho);
  }
  return sigma;
}

Tensor heun(const Denoiser& denoiser, Tensor x, const HeunOptions& options,
            const SampleStreams& streams, const StepHooks& hooks) {
  check_state("heun", x);
  const NoGrad no_graph;
  const std::vector<double> sigma = karras_levels(options);
  const double most =
      std::min(options.churn / static_cast<double>(options.steps), std::numbers::sqrt2 - 1);
  Hooked hooked(hooks);
  hooked.start(x, 1, sigma.front());
  for (int64_t i = 0; i < options.steps; ++i) {
    double at = sigma[i];
    const double next = sigma[i + 1];
    if (most > 0 && at >= options.churn_min && at <= options.churn_max) {
      const double raised = at * (1 + most);
      const double noise = std::sqrt(raised * raised - at * at) * options.churn_noise;
      x = combine(1, x, noise, streams.normal(x.shape(), "churn", i));
      at = raised;
    }
    // Slope d = (x - D)/sigma; Euler, then the trapezoid unless the step ends at 0, where d is not
    // defined.
    const double h = next - at;
    const Tensor slope = combine(1 / at, x, -1 / at, denoiser(x, levels_of(x, at)));
    const Tensor euler = combine(1, x, h, slope);
    if (next == 0 || !options.second_order) {
      x = euler;
    } else {
      const Tensor second =
          combine(1 / next, euler, -1 / next, denoiser(euler, levels_of(x, next)));
      x = combine(1, x, h / 2, slope, h / 2, second);
    }
    hooked.constrain(x, 1, next);
    hooked.trace(x, 1, next);
  }
  return x;
}

void check_samples(const Tensor& x, int64_t first, const char* where, const char* hint) {
  for (int64_t i = 0; i < x.numel(); ++i)
    if (!std::isfinite(x.item(i)))
      fail(Fault::numeric, where, "sample ", first + i / x.dim(1), " is not finite; ", hint);
}

}  // namespace kindred::diffusion
