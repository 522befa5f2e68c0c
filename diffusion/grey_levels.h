// Integers k in [0, K) on the real line, where Gaussian diffusion works: cell k is
//   [c k/K + b, c (k + 1)/K + b), width w = c/K,
// and k is encoded as its centre (Kingma et al. 2021, VDM, section 3), or as a uniform point of its
// cell (Theis, van den Oord and Bethge 2016). Behind noise of standard deviation s an encoding has
//   q(z | k) = N(z; centre, s^2),  or the mean of that over the cell.
// The decoder p(k | z) = q(z | k) / sum_j q(z | j) is a distribution over the K integers for every
// z, whatever produced z: bounds that use it are bounds of discrete codes. B: samples, D:
// dimensions.
#pragma once
#include <cstdint>
#include <string>

#include "autodiff/rng.h"
#include "autodiff/tensor.h"

namespace kindred::diffusion {

/// K levels, spread over [shift, shift + scale]; the standard is [-1, 1].
struct GreyLevels {
  int64_t count;
  double scale, shift;

  /// Usage error unless count and scale are positive. Implicit: a number of levels means [-1, 1].
  GreyLevels(int64_t count, double scale = 2, double shift = -1);
  double width() const { return scale / static_cast<double>(count); }
  /// c (k + u)/K + b.
  double at(double k, double u) const { return width() * (k + u) + shift; }
};

enum class Encoding { centre, uniform };
/// "centre" or "uniform"; a usage error that names `key` otherwise.
Encoding parse_encoding(const std::string& key, const std::string& word);

/// Uniform points of the cells. symbols: i32 [B, D]; the noise of row k comes from
/// rng.split(first + k). Returns f64. Usage error for integers outside [0, K).
Tensor dequantise(const Tensor& symbols, const GreyLevels& levels, const Rng& rng,
                  int64_t first = 0);
/// Centres of the cells, f64.
Tensor centres(const Tensor& symbols, const GreyLevels& levels);
/// The inverse of both: floor((y - b) K / c), clamped to [0, K). Any float dtype -> i32.
Tensor quantise(const Tensor& y, const GreyLevels& levels);
/// Bits of a sample of `dims` integers from the log-density of a uniform point of its cells:
/// -log2 p(y) + D log2(K/c), as y has K/c cells a unit. Two encodings of the same data by other
/// scale and shift give the same bits.
double bits_of(double nats, int64_t dims, const GreyLevels& levels);

/// log sum_j q(z | j) of one number behind noise s > 0: what -log p(k | z) + log q(z | k) is for
/// every k.
double log_evidence(double z, double s, const GreyLevels& levels, Encoding encoding);
/// Summed over a row z [D].
double log_evidence(const double* z, int64_t dims, double s, const GreyLevels& levels,
                    Encoding encoding);

}  // namespace kindred::diffusion
