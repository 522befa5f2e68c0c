#include "diffusion/vdm_bound.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/graph.h"
#include "diffusion/ode_bound.h"

namespace kindred::diffusion {

double prior_kl(const double* x, int64_t dims, double s1, double prior_sd) {
  const double ratio = s1 * s1 / (prior_sd * prior_sd);
  double squares = 0;
  for (int64_t d = 0; d < dims; ++d) squares += x[d] * x[d];
  return 0.5 * (squares / (prior_sd * prior_sd) +
                static_cast<double>(dims) * (ratio - 1 - std::log(ratio)));
}

std::vector<double> noise_errors(const Denoiser& denoiser, const Tensor& x, const Tensor& eps,
                                 const std::vector<double>& sigma, int64_t batch,
                                 const std::function<void(int64_t rows)>& progress) {
  check(x.rank() == 2 && x.shape() == eps.shape() && x.dtype() == DType::f64 &&
            x.dim(0) == static_cast<int64_t>(sigma.size()),
        "vdm bound", "points ", x.shape(), ", noise ", eps.shape(), " and ", sigma.size(),
        " noise levels");
  const int64_t dims = x.dim(1);
  Tensor z = Tensor::empty(x.shape(), DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i)
    z.mutable_data<double>()[i] = x.data<double>()[i] + sigma[i / dims] * eps.data<double>()[i];
  const Tensor denoised = denoise_rows(denoiser, z, sigma, batch, progress);
  std::vector<double> errors(sigma.size(), 0.0);
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double error = (x.data<double>()[i] - denoised.data<double>()[i]) / sigma[i / dims];
    errors[i / dims] += error * error;
  }
  return errors;
}

NoiseProposal learn_proposal(const Denoiser& denoiser, const Tensor& x, const NoiseRange& range,
                             const Rng& rng, int64_t batch, int64_t bins) {
  const int64_t rows = x.dim(0);
  const NoiseProposal flat = NoiseProposal::flat(range.sigma_min, range.sigma_max);
  const Tensor eps = rng.normal(x.shape(), DType::f64);
  std::vector<double> sigma;
  for (int64_t i = 0; i < rows; ++i)
    sigma.push_back(
        std::exp(flat.quantile((static_cast<double>(i) + 0.5) / static_cast<double>(rows))));
  const std::vector<double> errors = noise_errors(denoiser, x, eps, sigma, batch);
  std::vector<double> squares(bins, 0.0), counts(bins, 0.0);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t bin = i * bins / rows;
    squares[bin] += errors[i] * errors[i];
    counts[bin] += 1;
  }
  for (int64_t b = 0; b < bins; ++b)
    squares[b] = counts[b] > 0 ? std::sqrt(squares[b] / counts[b]) : 0;
  return NoiseProposal::following(range.sigma_min, range.sigma_max, squares);
}

namespace {
/// Noise levels of all draws of all elements, ascending within an element.
std::vector<NoiseDraw> draw_levels(const NoiseProposal& proposal, const Elements& elements,
                                   const Rng& rng, const VdmOptions& options) {
  const double start = rng.uniform(0);
  std::vector<NoiseDraw> drawn;
  for (int64_t i = 0; i < elements.rows(); ++i) {
    double shift = start + static_cast<double>(elements.first + i) * std::numbers::phi;
    shift -= std::floor(shift);
    for (int64_t m = 0; m < options.draws; ++m)
      drawn.push_back(noise_draw(
          proposal, (static_cast<double>(m) + shift) / static_cast<double>(options.draws),
          options.steps));
  }
  return drawn;
}

/// -log p(x | z_0) of rows z_0 = x + s0 eps, with what the encoding gives back.
std::vector<double> decoder_nats(const Denoiser& denoiser, const Elements& elements,
                                 const Tensor& x, const Tensor& eps, const NoiseRange& range,
                                 const VdmOptions& options) {
  const int64_t rows = x.dim(0), dims = x.dim(1);
  const double s0 = range.sigma_min;
  Tensor z = Tensor::empty(x.shape(), DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i)
    z.mutable_data<double>()[i] = x.data<double>()[i] + s0 * eps.data<double>()[i];
  const Tensor decoded =
      elements.levels ? Tensor()
                      : denoise_rows(denoiser, z, std::vector<double>(rows, s0), options.batch);
  std::vector<double> nats;
  for (int64_t r = 0; r < rows; ++r) {
    const double* at = z.data<double>() + r * dims;
    const double* data = x.data<double>() + r * dims;
    nats.push_back(elements.levels
                       ? log_evidence(at, dims, s0, *elements.levels, options.encoding) -
                             log_normal(at, data, dims, s0 * s0)
                       : -log_normal(data, decoded.data<double>() + r * dims, dims,
                                     decoder_variance(s0, range.sigma_data)));
  }
  return nats;
}

/// Mean of each group of `draws` values in bits, and adds the variance of that mean. ordered: the
/// values follow a smooth curve that was cut into equal shares, so only differences of neighbours
/// are noise.
std::vector<double> mean_bits(const std::vector<double>& nats, int64_t draws, bool ordered,
                              std::vector<double>& variance) {
  std::vector<double> means;
  const auto m = static_cast<double>(draws);
  for (std::size_t first = 0; first < nats.size(); first += draws) {
    const double* v = nats.data() + first;
    double mean = 0, spread = 0;
    for (int64_t i = 0; i < draws; ++i) mean += v[i] / m;
    for (int64_t i = 0; i < draws; ++i) {
      if (ordered && i == 0) continue;
      const double difference = v[i] - (ordered ? v[i - 1] : mean);
      spread += difference * difference * (ordered ? 0.5 : 1.0);
    }
    if (draws > 1)
      variance[means.size()] += spread / ((m - 1) * m) / (std::numbers::ln2 * std::numbers::ln2);
    means.push_back(mean / std::numbers::ln2);
  }
  return means;
}
}  // namespace

Scores vdm_bound(const Denoiser& denoiser, const Elements& elements, const NoiseRange& range,
                 const NoiseProposal& proposal, const Rng& rng, const VdmOptions& options) {
  check(options.draws >= 1 && options.batch >= 1, "objective.vdm_draws", options.draws,
        " noise levels an element, ", options.batch, " rows at once; both must be positive");
  const NoGrad no_graph;
  constexpr int64_t kDecoderDraws = 4;  // its spread is small beside that of the diffusion term
  const int64_t rows = elements.rows(), dims = elements.dims(), draws = options.draws;
  const int64_t ends = std::min(draws, kDecoderDraws);

  const Tensor x = elements.encoded(options.encoding, draws, rng.split("encode"));
  const std::vector<NoiseDraw> levels =
      draw_levels(proposal, elements, rng.split("level"), options);
  std::vector<double> sigma;
  for (const NoiseDraw& level : levels) sigma.push_back(level.sigma);
  std::vector<double> loss = noise_errors(denoiser, x, elements.noise(draws, rng.split("noise")),
                                          sigma, options.batch, options.progress);
  for (std::size_t i = 0; i < loss.size(); ++i) loss[i] *= levels[i].weight;

  std::vector<double> prior;
  for (int64_t r = 0; r < rows * draws; ++r)
    prior.push_back(prior_kl(x.data<double>() + r * dims, dims, range.sigma_max, range.prior_sd));

  const Tensor coded = elements.encoded(options.encoding, ends, rng.split("encode"));
  const std::vector<double> decoder = decoder_nats(
      denoiser, elements, coded, elements.noise(ends, rng.split("decoder")), range, options);

  Scores scores;
  scores.variance.assign(rows, 0.0);
  const auto prior_bits = mean_bits(prior, draws, false, scores.variance);
  const auto diffusion_bits = mean_bits(loss, draws, true, scores.variance);
  auto decoder_bits = mean_bits(decoder, ends, false, scores.variance);
  if (draws == 1) scores.variance.clear();
  const double offset = elements.levels ? 0 : -static_cast<double>(dims) * std::log2(elements.unit);
  for (int64_t i = 0; i < rows; ++i) {
    decoder_bits[i] += offset;
    scores.bits.push_back(prior_bits[i] + diffusion_bits[i] + decoder_bits[i]);
    scores.evaluations.push_back(draws + (elements.levels ? 0 : ends));
  }
  scores.parts = {{"prior", prior_bits}, {"diffusion", diffusion_bits}, {"decoder", decoder_bits}};
  return scores;
}

}  // namespace kindred::diffusion
