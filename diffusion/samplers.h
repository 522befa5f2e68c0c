// Samplers of a Gaussian path: annealed Langevin dynamics (Song and Ermon 2019, 2020),
// predictor-corrector (Song et al. 2021), Heun's method with churn (Karras et al. 2022, algorithm
// 2), and plain Langevin steps. States are [B, D] f64. All noise of sample k at step i comes from a
// stream of (k, purpose, i), so that a sample is the same in a batch of any size.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "autodiff/rng.h"
#include "diffusion/precondition.h"

namespace kindred::diffusion {

/// Random streams of samples first, first + 1, ...
class SampleStreams {
 public:
  explicit SampleStreams(const Rng& rng, int64_t first = 0) : rng_(rng), first_(first) {}
  /// [B, D] f64 standard normals; row k depends on (rng, first + k, purpose, step) only.
  Tensor normal(const Shape& shape, std::string_view purpose, int64_t step) const;

 private:
  Rng rng_;
  int64_t first_;
};

/// What a caller may do with the states of a sampler on their way.
struct StepHooks {
  /// After every call of a predictor and of a corrector, and on the initial state. x [B, D] is
  /// a x0 + s eps and may be changed; `call` counts from 0, so that noise can be drawn for it. The
  /// last call has a = 1, s = 0 if the sampler ends with E[x0 | x] or at noise level 0.
  std::function<void(Tensor& x, double a, double s, int64_t call)> constrain = {};
  /// The state x / a with its noise level sigma = s/a, [B, D]: at step 0 the initial one, at step i
  /// the one after i steps.
  std::function<void(int64_t step, double sigma, const Tensor& x)> trace = {};
};

/// The step size alpha of Langevin dynamics is meant as
enum class StepConvention {
  paper,  ///< x += (alpha/2) score + sqrt(alpha) z
  song,   ///< x += alpha score + sqrt(2 alpha) z, as in the published NCSN image code: paper's with
          ///< 2 alpha
};

/// Unadjusted Langevin: `steps` steps on a fixed target. score: x [B, D] -> [B, D].
/// Biased by the step: a Gaussian target of variance v gets v / (1 - alpha/(4 v)).
Tensor langevin(const std::function<Tensor(const Tensor& x)>& score, Tensor x, double alpha,
                int64_t steps, const SampleStreams& streams,
                StepConvention convention = StepConvention::paper, const StepHooks& hooks = {});

struct AnnealedLangevinOptions {
  std::vector<double> sigmas;  ///< noise levels, falling
  int64_t steps_per_level = 100;
  double epsilon = 2e-5;  ///< step at the last level; alpha_i = epsilon (sigma_i / sigma_last)^2
  StepConvention convention = StepConvention::paper;
  bool final_denoise = true;  ///< end with E[x0 | x] at the last level
};
Tensor annealed_langevin(const Denoiser& denoiser, Tensor x, const AnnealedLangevinOptions& options,
                         const SampleStreams& streams, const StepHooks& hooks = {});
/// `count` noise levels from first to last with a constant ratio.
std::vector<double> geometric_levels(double first, double last, int64_t count);

/// One step from t to t' < t. r = a(t)/a(t'), G^2 = s(t)^2 - r^2 s(t')^2 (the forward transition).
enum class Predictor {
  none,               ///< corrector only
  euler_maruyama,     ///< reverse-time equation, first order
  reverse_diffusion,  ///< (2 - r) x + G^2 score + G z
  ancestral,  ///< (x + G^2 score)/r + G z, the larger of the two ancestral variances (DDPM's beta)
  ancestral_small,  ///< the same mean, variance G^2 s'^2/s^2 (the exact posterior; DDPM's beta
                    ///< tilde)
  ddim,             ///< a' D + sqrt(s'^2 - v) eps + sqrt(v) z with v = eta^2 G^2 s'^2/s^2
};
Predictor parse_predictor(const std::string& name);

/// The norms |z| and |score| in the corrector's step 2 alpha (snr |z| / |score|)^2.
enum class Norms {
  sample,  ///< each sample's own; needs many dimensions (say 32), where norms hardly vary
  batch,   ///< averaged over the batch, as in the published code; couples samples
  level,  ///< expected under pure noise, sqrt(D) and sqrt(D)/s: a step 2 alpha (snr s)^2, for any D
};

struct PredictorCorrectorOptions {
  Predictor predictor = Predictor::reverse_diffusion;
  double eta = 0;                  ///< ddim only: 0 deterministic, 1 equal to ancestral_small
  int64_t steps = 1000;            ///< intervals from t_max to t_sample, uniform in t
  std::vector<double> times = {};  ///< falling; not empty: these times instead, whatever `steps`
  int64_t corrector_steps = 1;     ///< Langevin steps after each predictor step
  double snr = 0.16;
  Norms norms = Norms::sample;
  bool corrector_first = false;  ///< order of the published code; false is the paper's algorithm 1
  bool final_denoise = true;
};
/// x: a draw of the prior N(0, prior_sd^2 I) at t_max; steps + steps * corrector_steps (+ 1)
/// evaluations. At the levels of a DDPM, from the last to the first, with the final denoising, it
/// is DDPM's sampler: there E[x0 | x] is the last step. The corrector's alpha is r^2: 1 - beta_i of
/// this step for VP (as in the published code; the paper's text says cumulative), 1 where the
/// signal keeps its scale.
Tensor predictor_corrector(const GaussianPath& path, const Denoiser& denoiser, Tensor x,
                           const PredictorCorrectorOptions& options, const SampleStreams& streams,
                           const StepHooks& hooks = {});

struct HeunOptions {
  int64_t steps = 18;
  double sigma_min = 0.002, sigma_max = 80, rho = 7;
  double churn = 0;                                              ///< S_churn; 0: deterministic
  double churn_min = 0.05, churn_max = 50, churn_noise = 1.003;  ///< S_min, S_max, S_noise
  bool second_order = true;  ///< false: Euler's method, `steps` evaluations
};
/// x: a draw of N(0, sigma_max^2 I). 2 steps - 1 evaluations; ends at noise level 0.
Tensor heun(const Denoiser& denoiser, Tensor x, const HeunOptions& options,
            const SampleStreams& streams, const StepHooks& hooks = {});
/// The levels of heun, ending with 0: steps + 1 values.
std::vector<double> karras_levels(const HeunOptions& options);

/// Fault::numeric with the number of the first sample whose row of x [n, D] is not finite; row k is
/// sample first + k. `hint`: what to change.
void check_samples(const Tensor& x, int64_t first, const char* where, const char* hint);

}  // namespace kindred::diffusion
