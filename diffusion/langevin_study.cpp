#include "diffusion/langevin_study.h"

#include <cmath>

#include "autodiff/choice.h"
#include "diffusion/mala.h"

namespace kindred::diffusion {

namespace {
constexpr double kMode = 5;  // modes at (kMode, kMode) and its negative

/// ln of the mixture's unnormalised density with noise sigma added, and its gradient.
LogDensityAt mixture_density(const Tensor& x, double weight, double sigma) {
  const double v = 1 + sigma * sigma, log_odds = std::log(weight / (1 - weight));
  LogDensityAt out{Tensor::empty({x.dim(0)}, DType::f64), Tensor::empty(x.shape(), DType::f64)};
  for (int64_t i = 0; i < x.dim(0); ++i) {
    const double* at = x.data<double>() + 2 * i;
    double near = 0, far = 0;
    for (int d = 0; d < 2; ++d) {
      near += (at[d] - kMode) * (at[d] - kMode);
      far += (at[d] + kMode) * (at[d] + kMode);
    }
    const double logit = log_odds + 0.5 * (far - near) / v;  // of the mode at (5, 5)
    const double r = 1 / (1 + std::exp(-logit));
    out.value.mutable_data<double>()[i] =
        -0.5 * far / v +
        (logit > 0 ? logit + std::log1p(std::exp(-logit)) : std::log1p(std::exp(logit)));
    for (int d = 0; d < 2; ++d)
      out.gradient.mutable_data<double>()[2 * i + d] = ((2 * r - 1) * kMode - at[d]) / v;
  }
  return out;
}

LogDensityAt normal_density(const Tensor& x) {
  LogDensityAt out{Tensor::empty({x.dim(0)}, DType::f64), Tensor::empty(x.shape(), DType::f64)};
  for (int64_t i = 0; i < x.dim(0); ++i) {
    const double at = x.data<double>()[i];
    out.value.mutable_data<double>()[i] = -0.5 * at * at;
    out.gradient.mutable_data<double>()[i] = -at;
  }
  return out;
}

/// Variance of the numbers of the rows for which `take` holds.
template <class Take>
double variance_of(const Tensor& x, Take take) {
  double count = 0, total = 0, squares = 0;
  const int64_t dims = x.dim(1);
  for (int64_t i = 0; i < x.dim(0); ++i) {
    const double* row = x.data<double>() + i * dims;
    if (!take(row)) continue;
    for (int64_t d = 0; d < dims; ++d) {
      count += 1;
      total += row[d];
      squares += row[d] * row[d];
    }
  }
  return squares / count - total / count * (total / count);
}
}  // namespace

StudyValues langevin_modes(const LangevinOptions& o) {
  check_word(o.target, {"mixture", "normal"}, "study.target");
  check_word(o.sampler, {"plain", "mala", "annealed"}, "study.sampler");
  const bool mixture = o.target == "mixture";
  check(mixture || o.sampler != "annealed", "study.sampler", "annealed is for the mixture");
  check(o.chains >= 2 && o.steps >= 1 && o.weight > 0 && o.weight < 1 && o.start > 0, "study",
        o.chains, " chains, ", o.steps, " steps, weight ", o.weight, ", start ", o.start);
  const Rng rng(static_cast<uint64_t>(o.seed));
  Tensor x = rng.split("start").uniform({o.chains, mixture ? 2 : 1}, DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i) {
    double& at = x.mutable_data<double>()[i];
    at = o.start * (2 * at - 1);
  }
  const SampleStreams streams(rng.split("chains"));
  const auto density = [&](const Tensor& at) {
    return mixture ? mixture_density(at, o.weight, 0) : normal_density(at);
  };
  double acceptance = 1;
  if (o.sampler == "mala") {
    const MalaResult result = mala(density, x, o.alpha, o.steps, streams);
    x = result.x;
    acceptance = result.acceptance;
  } else if (o.sampler == "plain") {
    x = langevin([&](const Tensor& at) { return density(at).gradient; }, x, o.alpha, o.steps,
                 streams);
  } else {
    check(o.steps >= o.levels && o.steps % o.levels == 0, "study", "steps = ", o.steps,
          " are to be spent alike on levels = ", o.levels, "; choose a multiple");
    check(o.sigma_first > o.sigma_last, "study", "sigma_first = ", o.sigma_first,
          " is not above sigma_last = ", o.sigma_last);
    const Denoiser denoiser = [&](const Tensor& at, const Tensor& sigma) {
      const double level = sigma.item(0);  // one for all rows
      Tensor out = mixture_density(at, o.weight, level).gradient;
      for (int64_t i = 0; i < out.numel(); ++i) {
        double& d = out.mutable_data<double>()[i];
        d = at.data<double>()[i] + level * level * d;
      }
      return out;
    };
    x = annealed_langevin(denoiser, x,
                          {.sigmas = geometric_levels(o.sigma_first, o.sigma_last, o.levels),
                           .steps_per_level = o.steps / o.levels,
                           .epsilon = o.alpha,
                           .final_denoise = false},
                          streams);
  }
  if (!mixture)
    return {{"variance", variance_of(x, [](const double*) { return true; })},
            {"acceptance", acceptance}};
  const auto heavy = [](const double* row) { return row[0] + row[1] > 0; };
  double count = 0;
  for (int64_t i = 0; i < o.chains; ++i) count += heavy(x.data<double>() + 2 * i);
  return {{"weight", count / static_cast<double>(o.chains)},
          {"variance", variance_of(x, heavy)},
          {"acceptance", acceptance}};
}

}  // namespace kindred::diffusion
