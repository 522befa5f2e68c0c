// Score matching: fits s(x) to the score of data without its normaliser, up to a constant of the
// data.
//   J = E[ tr(ds/dx) + |s|^2/2 ] = E|s - grad log p|^2/2 - E|grad log p|^2/2
// Exact by D reverse passes (Hyvarinen 2005), or sliced by probes v, E[v v^T] = I (Song et al.
// 2019):
//   E_v[ v^T (ds/dx) v + (v^T s)^2/2 ],  variance-reduced with |s|^2/2 for the second term.
// Losses are sums over the D dimensions of an element and means over the B rows. The score of an
// energy or of a flow is itself a gradient; its losses then need third derivatives, which grad()
// gives. x [B, ...], M probes an element.
#pragma once
#include <string>

#include "autodiff/functional.h"
#include "autodiff/rng.h"

namespace kindred::diffusion {

/// All with E[v v^T] = I, so that they estimate the same J. The variance of v^T A v is
/// 2 (|A_s|^2 - sum A_ii^2) for rademacher and 2 |A_s|^2 for gaussian, A_s the symmetric part;
/// sphere: uniform on the sphere of radius sqrt(D).
enum class Probe { rademacher, gaussian, sphere };
/// Usage error under `key` for another word.
Probe parse_probe(const std::string& word, const std::string& key);
/// [M, shape...] of directions for x of `shape` [B, ...].
Tensor draw_probes(Probe kind, int64_t probes, const Shape& shape, const Rng& rng,
                   DType dtype = DType::f32);

/// tr(ds/dx) + |s|^2/2 of each row, [B]: one pass through s, D reverse passes through its graph.
/// Rows must not influence one another.
Tensor implicit_rows(const TensorFunction& score, const Tensor& x);
/// Their mean.
Tensor implicit_loss(const TensorFunction& score, const Tensor& x);

/// v^T (ds/dx) v + (v^T s)^2/2 of each row, [B], in the mean over the probes [M, B, ...] or [B,
/// ...]; variance_reduced: |s|^2/2 for the second term. One pass through s, M reverse passes.
Tensor sliced_rows(const TensorFunction& score, const Tensor& x, const Tensor& probes,
                   bool variance_reduced);
/// Their mean.
Tensor sliced_loss(const TensorFunction& score, const Tensor& x, const Tensor& probes,
                   bool variance_reduced);

/// |s(x + sigma z) + z/sigma|^2/2 of each row, [B] (Vincent 2011), z [B, ...] standard normal. Its
/// least mean is not 0 but E tr Cov(x | x + sigma z) / (2 sigma^4).
Tensor noised_rows(const TensorFunction& score, const Tensor& x, const Tensor& z, double sigma);
/// Their mean.
Tensor noised_loss(const TensorFunction& score, const Tensor& x, const Tensor& z, double sigma);

}  // namespace kindred::diffusion
