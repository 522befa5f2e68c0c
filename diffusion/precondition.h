// Denoisers and their preconditioning (Karras et al. 2022, table 1).
// A denoiser estimates D(x; sigma) = E[x0 | x] for x = x0 + sigma eps. It is built from a network F
// as
//   D(x; sigma) = c_skip x + c_out F(c_in x; c_noise),
// and every path shares it: at time t of a path, E[x0 | x_t] = D(x_t / a; s / a) and
// score(x_t) = (a D - x_t) / s^2. B: samples, D: dimensions of one sample.
#pragma once
#include <functional>
#include <span>
#include <string>

#include "diffusion/path.h"

namespace kindred::diffusion {

/// x [B, D] f64, sigma [B] f64 -> E[x0 | x] [B, D] f64; differentiable in x when built from ops.
/// Rows must not influence one another.
using Denoiser = std::function<Tensor(const Tensor& x, const Tensor& sigma)>;
/// A denoiser that knows which sample of the whole each row of x is: samples may be of different
/// classes, and the adaptive solver mixes rows.
using RowDenoiser =
    std::function<Tensor(const Tensor& x, const Tensor& sigma, std::span<const int64_t> rows)>;
/// For states that hold samples 0, 1, ... in order.
Denoiser in_order(RowDenoiser denoiser);
/// The raw network F: x [B, D] f32, noise feature [B] f32 -> [B, D] f32.
using Network = std::function<Tensor(const Tensor& x, const Tensor& noise)>;

struct Coefficients {
  double skip, out, in;
  double noise;  ///< what the network is told about the noise level
};

/// Coefficients as functions of the noise level. The noise feature is ln(sigma)/4 for all of them,
/// so that a backbone need not know the path (the published ones, 999 t and ln(sigma/2), are
/// monotone functions of it).
struct Preconditioning {
  std::string name;
  std::function<Coefficients(double sigma)> at;
};
/// Unit-variance input and target for data of standard deviation sigma_data.
Preconditioning edm_preconditioning(double sigma_data);
/// Score network of VE: score = F / sigma, raw input (NCSNv2, score_sde).
Preconditioning ve_preconditioning();
/// Noise prediction of VP: score = -F / s, input scaled back to x_t = a x (DDPM, score_sde).
Preconditioning vp_preconditioning();
/// The score itself: score = F(x), not divided by the noise level (NCSN).
Preconditioning raw_preconditioning();
/// Noise prediction beside the input: eps = F + c_in x, so that F = 0 is right for data of no width
/// under much noise (the base of VDM's network, Kingma et al. 2021).
Preconditioning vdm_preconditioning();

/// Wraps a network. The state stays f64, the network runs in f32 behind differentiable casts.
Denoiser make_denoiser(Preconditioning preconditioning, Network network);

/// E[x0 | x_t] for all rows of x [B, D] at time t of a path.
Tensor denoise(const GaussianPath& path, const Denoiser& denoiser, const Tensor& x, double t);
/// grad log p_t(x) = (a E[x0 | x_t] - x) / s^2.
Tensor score(const GaussianPath& path, const Denoiser& denoiser, const Tensor& x, double t);

}  // namespace kindred::diffusion
