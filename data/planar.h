// Laws of points in the plane whose probabilities are known: mixtures of products of
// one-dimensional laws of one width, Gaussian or uniform. A Gaussian around a curve is such a
// mixture too, with one component at each node of a quadrature rule. From it follow the masses of
// grid cells and the entropies.
#pragma once
#include <cstdint>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::data {

struct PlanarLaw {
  bool uniform = false;  ///< components are squares (x +- width) instead of Gaussians of sd `width`
  double width = 1;
  std::vector<double> weight, x, y;  ///< of the components; the weights sum to 1
};

/// Quantised points live on the square [-kPlanarHalf, kPlanarHalf]^2; what falls outside is
/// redrawn, so their law is the continuous one conditioned on the square.
inline constexpr double kPlanarHalf = 4;

/// Probabilities of the K x K cells (row i: x, column j: y), renormalised to the square:
/// differences of error functions (Gaussian) or overlaps of intervals (uniform), exact up to
/// rounding and the quadrature of the law.
std::vector<double> cell_masses(const PlanarLaw& law, int64_t levels);
/// -sum p log2 p.
double entropy_bits(const std::vector<double>& masses);
/// -integral p log2 p of the unconditioned law, in bits. Uniform: the squares must not overlap.
/// Gaussian: midpoint rule with a step of a fifth of the width.
double differential_entropy_bits(const PlanarLaw& law);

/// Gradient of ln p at x [n, 2] f64, p the unconditioned Gaussian law with N(0, blur^2 I) added.
Tensor planar_score(const PlanarLaw& law, const Tensor& x, double blur);

/// Nodes and weights of Fejer's first rule on [0, length], the weights divided by length (they sum
/// to 1). Converges geometrically for analytic integrands.
struct Quadrature {
  std::vector<double> node, weight;
};
Quadrature fejer(int64_t nodes, double length);

}  // namespace kindred::data
