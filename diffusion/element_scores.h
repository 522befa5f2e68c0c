// What the likelihoods of this room take and give: elements to score, and bits of each.
// B: elements, D: dimensions.
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "diffusion/grey_levels.h"
#include "diffusion/precondition.h"

namespace kindred::diffusion {

/// Elements first, first + 1, ... of a data set. Every random choice for element k is drawn from
/// streams of k, so answers do not depend on how a data set is cut.
struct Elements {
  std::optional<GreyLevels> levels;  ///< of integers; none: real values
  Tensor symbols;                    ///< i32 [B, D], where there are levels
  Tensor values;                     ///< f64 [B, D] in model units, where there are none
  double unit = 1;  ///< model units in a unit of the data: real densities change by it
  int64_t first = 0;

  int64_t rows() const { return levels ? symbols.dim(0) : values.dim(0); }
  int64_t dims() const { return levels ? symbols.dim(1) : values.dim(1); }

  /// `draws` encodings of every element, those of one element together: f64 [B draws, D] in model
  /// units. Draw m > 0 of an element has a stream of its own.
  Tensor encoded(Encoding encoding, int64_t draws, const Rng& rng) const;
  /// Standard normal noise for them, from the same streams of another purpose.
  Tensor noise(int64_t draws, const Rng& rng) const;
};

/// Bits of each element, and how much of their error is the method's own.
struct Scores {
  std::vector<double> bits;
  /// Of `bits` over probes or draws, where there are at least two of them; else empty.
  std::vector<double> variance;
  std::vector<int64_t> evaluations;  ///< of the denoiser, for each element
  /// Named parts in bits for each element, as {"residual", ...}.
  std::vector<std::pair<std::string, std::vector<double>>> parts;

  void append(const Scores& more);
  /// Mean of `bits` over elements, per dimension: bits/dim of a part or of all.
  static double per_dimension(const std::vector<double>& bits, int64_t dims);
  /// Standard error of bits/dim from `variance`: what more probes or draws would lower. NaN:
  /// unknown.
  double own_error(int64_t dims) const;
};

/// log (1/M) sum_m exp(w_m) of every M consecutive values.
std::vector<double> log_mean_exp(const std::vector<double>& values, int64_t group);

/// D(x; sigma) of x [n, D] f64, sigma [n], `batch` rows at a time. progress: rows done so far.
Tensor denoise_rows(const Denoiser& denoiser, const Tensor& x, const std::vector<double>& sigma,
                    int64_t batch, const std::function<void(int64_t rows)>& progress = {});

}  // namespace kindred::diffusion
