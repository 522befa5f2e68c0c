// The absorbing process on n symbols (D3PM, Austin et al. 2021; MDLM, Sahoo et al. 2024; MD4, Shi
// et al. 2024): at time t each symbol is hidden with probability t, so alpha(t) = 1 - t exactly and
// at t = 1 all are. For a network p that reads which symbols are hidden and the values of the
// others,
//   -ln p(x) <= integral over t of (1/t) E sum over hidden i of -ln p(x_i | x_t)      continuous
//   -ln p(x) <= sum over i = 1..T of (1/i) E sum ...,  t = i/T                        T steps
// Both are sums over the number k of hidden symbols, all sets of k alike,
//   sum over k of q(k) (n/k) E sum ...,  q(k) = 1/n  or  (k/n) sum_i (1/i) Binomial(k; n, i/T),
// whose terms vary less: no weight is above n, and what a set weighs does not depend on a rare t.
#pragma once
#include <cstdint>
#include <vector>

#include "autodiff/rng.h"

namespace kindred::diffusion {

/// One draw of what is hidden.
struct Hiding {
  std::vector<bool> hidden;  ///< [n]
  double weight = 0;         ///< of each hidden symbol's loss: 1/t or n/k
  double time = 0;           ///< t in (0, 1]
};

class MaskProcess {
 public:
  /// n >= 1 symbols; `timesteps` T >= 1, or 0 for continuous time. Usage error otherwise.
  MaskProcess(int64_t n, int64_t timesteps);

  int64_t symbols() const { return n_; }
  /// q(k) at index k - 1. Adds up to 1.
  const std::vector<double>& count_probabilities() const { return q_; }

  /// Each symbol with probability t; t = u, or the i-th of T steps with i = ceil(u T). u in (0, 1).
  /// In continuous time the variance of a loss weighted with 1/t is infinite (logarithmically).
  Hiding at_time(double u, const Rng& rng) const;
  /// Exactly k symbols, k by inversion of q at u. Its time has the distribution of t given k, so
  /// that a network that is told the time is scored under the same bound as by at_time.
  Hiding of_count(double u, const Rng& rng) const;

 private:
  double time_of_count(int64_t k, double kth_smallest, const Rng& rng) const;

  int64_t n_, steps_;
  std::vector<double> q_;
};

/// x mod 1, kept inside (0, 1): for draws that are spread evenly, (u + j/n) mod 1.
double inside_unit(double x);

}  // namespace kindred::diffusion
