// Initial poles of diagonal state-space models (Gu, Gupta, Goel and Re 2022), modes n = 0..M-1:
//   lin   -1/2 + i pi n                       legs  -1/2 + i w_n, the normal part of HiPPO-LegS
//   inv   -1/2 + i (N/pi) (N/(2n+1) - 1)      real  -(n+1)
//   random  -|g| + i g', normal g and g': stable, without the structure that the others have
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/rng.h"

namespace kindred::ssm {

enum class Init { lin, inv, legs, real, random };
const char* name(Init init);
/// From "lin", "inv", "legs", "real" or "random"; a usage error names `key` otherwise.
Init parse_init(const std::string& word, const std::string& key);

struct Spectrum {
  std::vector<double> re, im;  ///< of the M = N/2 stored poles
  /// Input vector B, real: 1, but for legs half of V* B: S4D drops P P* from A, and with it half of
  /// B (Gu et al. 2022, S4D, theorem 3).
  std::vector<double> B;
};

/// Usage error unless N is even and positive. `rng` matters for `random` only.
Spectrum initial_spectrum(Init init, int64_t N, const Rng& rng = Rng());
/// Of several copies: one if all are the same, else one each.
std::vector<Spectrum> initial_spectra(Init init, int64_t N, int64_t copies, const Rng& rng);

}  // namespace kindred::ssm
