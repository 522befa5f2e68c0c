// The four matrices, entry by entry.
#include "ssm/hippo.h"

#include <cmath>
#include <numbers>

#include "autodiff/check.h"
#include "autodiff/choice.h"

namespace kindred::ssm {

namespace {

const Choices<Measure>& words() {
  static const Choices<Measure> list = {{"legs", Measure::legs},
                                        {"legt", Measure::legt},
                                        {"lagt", Measure::lagt},
                                        {"fout", Measure::fout}};
  return list;
}

/// sqrt(2n+1), the norm of the Legendre polynomial P_n.
double root(int64_t n) { return std::sqrt(2 * static_cast<double>(n) + 1); }

double entry(Measure measure, int64_t n, int64_t k, double theta) {
  switch (measure) {
    case Measure::legs:
      return n > k ? -root(n) * root(k) : n == k ? -static_cast<double>(n + 1) : 0;
    case Measure::legt:
      return (n >= k || (k - n) % 2 == 0 ? -1 : 1) * root(n) * root(k) / theta;
    case Measure::lagt:
      return n > k ? -1 : n == k ? -0.5 : 0;
    case Measure::fout: {
      double a = 0;
      if (n / 2 == k / 2 && n != k)
        a = (n < k ? -1 : 1) * std::numbers::pi * static_cast<double>(n / 2);
      if (n % 2 == 0 && k % 2 == 0)
        a -= (n == 0 ? 1 : std::numbers::sqrt2) * (k == 0 ? 1 : std::numbers::sqrt2);
      return a * 2 / theta;
    }
  }
  return 0;
}

double input(Measure measure, int64_t n, double theta) {
  switch (measure) {
    case Measure::legs:
      return root(n);
    case Measure::legt:
      return root(n) / theta;
    case Measure::lagt:
      return 1;
    case Measure::fout:
      return (n % 2 != 0 ? 0 : n == 0 ? 1 : std::numbers::sqrt2) * 2 / theta;
  }
  return 0;
}

}  // namespace

const char* name(Measure measure) { return word_of(measure, words()); }
Measure parse_measure(const std::string& word, const std::string& key) {
  return choose(word, words(), key);
}

DenseSystem hippo_matrix(Measure measure, int64_t N, double theta) {
  check(N > 0, "hippo", "state size N = ", N, " must be positive");
  check(measure != Measure::fout || N % 2 == 0, "hippo", "state size N = ", N,
        " of fout must be even: cosines and sines come in pairs");
  check(theta > 0 && std::isfinite(theta), "hippo", "window theta = ", theta,
        " must be positive and finite");
  DenseSystem s;
  s.N = N;
  for (int64_t n = 0; n < N; ++n) {
    for (int64_t k = 0; k < N; ++k) s.A.push_back(entry(measure, n, k, theta));
    s.B.push_back(input(measure, n, theta));
  }
  return s;
}

}  // namespace kindred::ssm
