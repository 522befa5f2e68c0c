// Completion of elements of which some dimensions are known (inpainting), with a denoiser of whole
// elements. M: the projection on the known dimensions, y: their values, J = dD/dx. B: samples, D:
// dimensions of one sample.
//
// Replacement (Song et al. 2021, appendix I.2): the known dimensions of every state are overwritten
// by a y + s z, noised to the state's own level with fresh z. The unknown ones follow the score of
// whole elements, in which the known ones are only as sharp as their noise: without Langevin steps
// at the same level, which let them come to terms, the law of the samples is wrong however small
// the predictor's steps are. So it needs correctors.
//
// Posterior score: the conditional score is score + grad_x log p(y | x, sigma), and with
// x0 | x ~ N(D, C) it is in terms of denoisers
//   D + sigma^2 J^T M^T (M C M^T + n^2 I)^-1 (y - M D).
// Tweedie's second formula gives C = sigma^2 J (Boys et al. 2023), exact for Gaussian data; the
// system is solved by conjugate residuals with one reverse pass a step. Without a step C is
// isotropic, sigma^2 c^2/(sigma^2 + c^2) I for data of standard deviation c (Song, Vahdat et al.
// 2023; Chung et al. 2023 choose the scale by hand). Works in every sampler.
#pragma once
#include <cstdint>
#include <functional>
#include <vector>

#include "diffusion/samplers.h"

namespace kindred::diffusion {

struct Known {
  Tensor values;               ///< y [B, D] f64; what is not known is not read
  std::vector<uint8_t> known;  ///< [D]: 1 where it is
};
/// Usage error unless some dimension is known and some is not, and the shapes fit.
void check_known(const Known& known);

/// Overwrites the known dimensions of a state a x0 + s eps; `call` numbers the fresh noise. For
/// StepHooks::constrain.
std::function<void(Tensor& x, double a, double s, int64_t call)> replacement(
    Known known, const SampleStreams& streams);

struct PosteriorOptions {
  double data_sd = 0.5;      ///< c, of the isotropic covariance
  int64_t solver_steps = 0;  ///< conjugate residuals on the covariance of Tweedie's formula
  double noise = 0;          ///< n, standard deviation of the noise on y
};
/// The denoiser given the known dimensions. One reverse pass; with S solver steps S + 2.
RowDenoiser posterior(RowDenoiser denoiser, Known known, const PosteriorOptions& options);

}  // namespace kindred::diffusion
