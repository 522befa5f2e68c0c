// The spectra, mode by mode, in double.
#include "ssm/spectrum.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/check.h"
#include "autodiff/choice.h"
#include "ssm/nplr.h"

namespace kindred::ssm {

namespace {
const Choices<Init>& words() {
  static const Choices<Init> list = {{"lin", Init::lin},
                                     {"inv", Init::inv},
                                     {"legs", Init::legs},
                                     {"real", Init::real},
                                     {"random", Init::random}};
  return list;
}

constexpr double kLeastRandomDecay = 1e-3;
}  // namespace

const char* name(Init init) { return word_of(init, words()); }
Init parse_init(const std::string& word, const std::string& key) {
  return choose(word, words(), key);
}

Spectrum initial_spectrum(Init init, int64_t N, const Rng& rng) {
  check(N > 0 && N % 2 == 0, "ssm", "state size N = ", N,
        " must be even: modes are stored as conjugate pairs");
  const auto M = static_cast<std::size_t>(N / 2);
  const auto size = static_cast<double>(N);
  constexpr double pi = std::numbers::pi;
  Spectrum s{std::vector<double>(M, -0.5), std::vector<double>(M, 0), std::vector<double>(M, 1)};
  if (init == Init::legs) {
    const Nplr legs = nplr(Measure::legs, N);
    for (std::size_t n = 0; n < M; ++n) {
      s.im[n] = legs.lambda[n].imag();
      s.B[n] = legs.B[n].real() / 2;
    }
    return s;
  }
  for (std::size_t n = 0; n < M; ++n) {
    const auto i = static_cast<double>(n);
    if (init == Init::lin) s.im[n] = pi * i;
    if (init == Init::inv) s.im[n] = size / pi * (size / (2 * i + 1) - 1);
    if (init == Init::real) s.re[n] = -(i + 1);
    if (init == Init::random) {
      s.re[n] = -std::max(kLeastRandomDecay, std::abs(rng.split("re").normal(n)));
      s.im[n] = rng.split("im").normal(n);
    }
  }
  return s;
}

std::vector<Spectrum> initial_spectra(Init init, int64_t N, int64_t copies, const Rng& rng) {
  if (init != Init::random) return {initial_spectrum(init, N)};
  std::vector<Spectrum> all;
  for (int64_t c = 0; c < copies; ++c)
    all.push_back(initial_spectrum(init, N, rng.split(static_cast<uint64_t>(c))));
  return all;
}

}  // namespace kindred::ssm
