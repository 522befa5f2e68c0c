// Generators: entropies against closed forms and Monte Carlo, samples against their law.
#include "data/generators.h"

#include <cmath>
#include <map>
#include <numbers>

#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::data;
using namespace kindred::test;

namespace {
const char* kPoints[] = {"gauss8", "moons", "rings", "checkerboard"};

std::shared_ptr<const Dataset> generated(const std::string& name, int64_t levels,
                                         uint64_t seed = 0) {
  DataOptions options;
  options.name = name;
  options.levels = levels;
  options.seed = seed;
  return open(options);
}

double gauss8_density(double x, double y) {
  const double sd = 0.5 / std::numbers::sqrt2;
  double p = 0;
  for (int k = 0; k < 8; ++k) {
    const double dx = x - 2 * std::numbers::sqrt2 * std::cos(k * std::numbers::pi / 4);
    const double dy = y - 2 * std::numbers::sqrt2 * std::sin(k * std::numbers::pi / 4);
    p += std::exp(-(dx * dx + dy * dy) / (2 * sd * sd)) / (2 * std::numbers::pi * sd * sd) / 8;
  }
  return p;
}

/// Mean and standard error of f over the rows of a split.
template <class F>
std::pair<double, double> mean_of(const Dataset& set, Split split, F f) {
  const Batch all = set.elements(split, 0, set.size(split));
  double sum = 0, squares = 0;
  const auto n = static_cast<double>(set.size(split));
  for (int64_t i = 0; i < set.size(split); ++i) {
    const Tensor& t = all.symbols.defined() ? all.symbols : all.values;
    const double v = f(t.item(2 * i), t.item(2 * i + 1));
    sum += v;
    squares += v * v;
  }
  const double mean = sum / n;
  return {mean, std::sqrt((squares / n - mean * mean) / n)};
}
}  // namespace

TEST_CASE("checkerboard: exact by hand", "[data]") {
  // 256 x 256 cells, half of them in the support, all equally likely: log2(32768) = 15 bits.
  CHECK(*generated("checkerboard", 256)->spec().entropy_bits == Approx(7.5).epsilon(1e-13));
  CHECK(*generated("checkerboard", 16)->spec().entropy_bits == Approx(3.5).epsilon(1e-13));
  CHECK(*generated("checkerboard", 2)->spec().entropy_bits == Approx(1).epsilon(1e-13));
  // 5 does not fit the squares: cell masses are products of overlaps, computed here from the
  // picture.
  double bits = 0, total = 0;
  for (int i = 0; i < 5; ++i)
    for (int j = 0; j < 5; ++j) {
      double area = 0;
      const auto overlap = [](double a, double square) {
        return std::max(0.0, std::min(a + 1.6, square + 2) - std::max(a, square));
      };
      for (int cx = 0; cx < 4; ++cx)
        for (int cy = 0; cy < 4; ++cy)
          if ((cx + cy) % 2 == 0)
            area += overlap(1.6 * i - 4, 2 * cx - 4) * overlap(1.6 * j - 4, 2 * cy - 4);
      total += area / 32;
      bits -= area > 0 ? area / 32 * std::log2(area / 32) : 0;
    }
  CHECK(total == Approx(1).epsilon(1e-12));
  CHECK(*generated("checkerboard", 5)->spec().entropy_bits == Approx(bits / 2).epsilon(1e-12));
  CHECK(*generated("checkerboard", 0)->spec().entropy_bits == 2.5);
}

TEST_CASE("gauss8: cell masses and entropies against the density", "[data]") {
  // Midpoint density times cell area, a different route than differences of error functions.
  const auto masses = cell_masses(planar_law("gauss8"), 256);
  double total = 0, bits = 0;
  std::vector<double> approx;
  for (int i = 0; i < 256; ++i)
    for (int j = 0; j < 256; ++j)
      approx.push_back(gauss8_density((i + 0.5) / 32 - 4, (j + 0.5) / 32 - 4) / 1024);
  for (double p : approx) total += p;
  for (std::size_t c = 0; c < approx.size(); ++c) {
    const double p = approx[c] / total;
    if (p > 0) bits -= p * std::log2(p);
    if (p > 1e-6) REQUIRE(masses[c] == Approx(p).epsilon(0.02));
  }
  CHECK(entropy_bits(masses) == Approx(bits).margin(1e-3));
  // One component holds log2(2 pi e sd^2) bits and the eight nearly do not overlap: + 3 bits at
  // most.
  const double separate = std::log2(2 * std::numbers::pi * std::numbers::e / 8) + 3;
  const double differential = differential_entropy_bits(planar_law("gauss8"));
  CHECK(differential < separate);
  CHECK(differential > separate - 0.02);
  CHECK(*generated("gauss8", 0)->spec().entropy_bits == Approx(differential / 2));
}

TEST_CASE("one Gaussian: the differential entropy in closed form", "[data]") {
  PlanarLaw law;
  law.width = 0.3;
  law.weight = {1};
  law.x = {0.2};
  law.y = {-0.1};
  const double exact = std::log2(2 * std::numbers::pi * std::numbers::e * 0.09);
  CHECK(differential_entropy_bits(law) == Approx(exact).epsilon(1e-12));
}

TEST_CASE("rings: the differential entropy as an integral over the radius", "[data]") {
  // A circle of radius R with noise of sd s has density
  // exp(-(r^2 + R^2) / 2 s^2) I0(r R / s^2) / 2 pi s^2.
  const double s2 = 0.24 * 0.24, step = 1e-3;
  double bits = 0, total = 0;
  for (double r = step / 2; r < 5.5; r += step) {
    double p = 0;
    for (double radius : {3.0, 1.5})
      p += std::exp(-(r * r + radius * radius) / (2 * s2)) * std::cyl_bessel_i(0, r * radius / s2) /
           (4 * std::numbers::pi * s2);
    total += 2 * std::numbers::pi * r * p * step;
    bits -= 2 * std::numbers::pi * r * p * std::log2(p) * step;
  }
  CHECK(total == Approx(1).epsilon(1e-9));
  CHECK(differential_entropy_bits(planar_law("rings")) == Approx(bits).epsilon(1e-7));
}

TEST_CASE("cell masses sum to one and fine grids approach the differential entropy", "[data]") {
  for (const char* name : kPoints) {
    INFO(name);
    const PlanarLaw law = planar_law(name);
    double weights = 0;
    for (double w : law.weight) weights += w;
    CHECK(weights == Approx(1).epsilon(1e-13));
    double sum = 0;
    const auto masses = cell_masses(law, 256);
    for (double p : masses) sum += p;
    CHECK(sum == Approx(1).epsilon(1e-13));
    // H(cells) -> h - log2(cell area) = h + 10; the square cuts off a little of gauss8 and rings.
    CHECK(entropy_bits(masses) == Approx(differential_entropy_bits(law) + 10).margin(0.02));
  }
}

TEST_CASE("the quadrature integrates polynomials and exponentials", "[data]") {
  const Quadrature q = fejer(20, 2.0);
  double mean = 0, cubes = 0, exponentials = 0;
  for (std::size_t k = 0; k < q.node.size(); ++k) {
    mean += q.weight[k] * q.node[k];
    cubes += q.weight[k] * std::pow(q.node[k], 3);
    exponentials += q.weight[k] * std::exp(q.node[k]);
  }
  CHECK(mean == Approx(1).epsilon(1e-14));
  CHECK(cubes == Approx(2).epsilon(1e-14));
  CHECK(exponentials == Approx((std::exp(2.0) - 1) / 2).epsilon(1e-14));
}

TEST_CASE("samples follow their law: cross-entropy equals entropy within error", "[data]") {
  for (const char* name : kPoints)
    for (int64_t levels : {256, 16, 7}) {
      INFO(name << " levels " << levels);
      const auto set = generated(name, levels, 3);
      CHECK(set->spec().length == 2);
      CHECK(set->spec().levels == levels);
      const auto masses = cell_masses(planar_law(name), levels);
      const auto [bits, error] = mean_of(*set, Split::train, [&](double x, double y) {
        return -std::log2(
            masses[static_cast<std::size_t>(x) * levels + static_cast<std::size_t>(y)]);
      });
      CHECK(std::isfinite(bits));
      CHECK(bits / 2 == Approx(*set->spec().entropy_bits).margin(2 * error + 1e-9));
    }
}

TEST_CASE("quantised samples by chi-square on a coarse grid", "[data]") {
  for (const char* name : kPoints) {
    INFO(name);
    constexpr int64_t kLevels = 8;
    const auto set = generated(name, kLevels, 5);
    const auto masses = cell_masses(planar_law(name), kLevels);
    std::vector<double> counts(masses.size(), 0);
    const Batch all = set->elements(Split::train, 0, set->size(Split::train));
    const int32_t* s = all.symbols.data<int32_t>();
    for (int64_t i = 0; i < set->size(Split::train); ++i)
      ++counts[s[2 * i] * kLevels + s[2 * i + 1]];
    double chi2 = 0, rest_expected = 0, rest = 0;
    int cells = 0;
    for (std::size_t c = 0; c < masses.size(); ++c) {
      const double expected = masses[c] * static_cast<double>(set->size(Split::train));
      if (expected < 5) {
        rest_expected += expected;
        rest += counts[c];
        continue;
      }
      ++cells;
      chi2 += (counts[c] - expected) * (counts[c] - expected) / expected;
    }
    CHECK(std::abs(rest - rest_expected) < 5 * std::sqrt(rest_expected + 1));
    CHECK(chi2 < cells + 4 * std::sqrt(2.0 * cells));
  }
}

TEST_CASE("real points: density entropy against Monte Carlo for gauss8", "[data]") {
  const auto set = generated("gauss8", 0);
  CHECK(set->spec().levels == 0);
  const auto [bits, error] = mean_of(
      *set, Split::train, [](double x, double y) { return -std::log2(gauss8_density(x, y)); });
  CHECK(bits / 2 == Approx(*set->spec().entropy_bits).margin(2 * error));
}

TEST_CASE("chain: its entropy is the code length of its numbers under its law", "[data]") {
  for (const int64_t D : {1, 8, 16}) {
    CAPTURE(D);
    DataOptions options;
    options.name = "chain";
    options.task.length = D;
    const auto set = open(options);
    CHECK(set->spec().length == D);
    const int64_t rows = set->size(Split::train);
    const Batch all = set->elements(Split::train, 0, rows);
    const auto normal_bits = [](double z, double sd) {
      return (0.5 * z * z / (sd * sd) + 0.5 * std::log(2 * std::numbers::pi) + std::log(sd)) /
             std::numbers::ln2;
    };
    double bits = 0;
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t d = 0; d < D; ++d) {
        const double x = all.values.item(i * D + d);
        const double before = d > 0 ? all.values.item(i * D + d - 1) : 0;
        bits += d > 0 ? normal_bits(x - 1.5 * std::sin(1.5 * before), 0.5) : normal_bits(x, 1);
      }
    const auto numbers = static_cast<double>(rows * D);
    // A number has (z^2 - 1) / (2 ln 2) bits more than the mean, of variance 1 / (2 ln^2 2).
    const double error = std::sqrt(0.5 / numbers) / std::numbers::ln2;
    CHECK(bits / numbers == Approx(*set->spec().entropy_bits).margin(4 * error));
  }
  DataOptions bad;
  bad.name = "chain";
  bad.levels = 8;
  CHECK_THAT(message_of(Fault::usage, [&] { open(bad); }), has("numbers are real"));
  bad.levels = 0;
  bad.task.lag = 3;
  CHECK_THAT(message_of(Fault::usage, [&] { open(bad); }), has("lag"));
}

TEST_CASE("seeds and splits give different points, the same seed the same", "[data]") {
  const auto first = generated("moons", 0), again = generated("moons", 0),
             other = generated("moons", 0, 1);
  CHECK(first->spec().sha256 == again->spec().sha256);
  CHECK(first->spec().sha256 != other->spec().sha256);
  CHECK(first->spec().train_size == 50000);
  CHECK(first->spec().test_size == 10000);
  const double a = first->elements(Split::train, 0, 1).values.item(0);
  CHECK(a == again->elements(Split::train, 0, 1).values.item(0));
  CHECK(a != first->elements(Split::test, 0, 1).values.item(0));
  CHECK(a != first->elements(Split::validation, 0, 1).values.item(0));
  DataOptions bad;
  bad.name = "moons";
  bad.levels = 1;
  message_of(Fault::usage, [&] { open(bad); });
  bad.levels = 0;
  bad.size = 14;
  CHECK_THAT(message_of(Fault::usage, [&] { open(bad); }), has("images only"));
  bad.size = 0;
  bad.path = "x";
  message_of(Fault::usage, [&] { open(bad); });
}

TEST_CASE("markov: stationary law, entropy rate, and a text that follows it", "[data]") {
  const Markov chain = make_markov(8, Rng(2));
  double total = 0;
  for (int64_t pair = 0; pair < 64; ++pair) {
    double row = 0;
    for (int64_t c = 0; c < 8; ++c) row += chain.next[pair * 8 + c];
    CHECK(row == Approx(1).epsilon(1e-14));
    total += chain.stationary[pair];
  }
  CHECK(total == Approx(1).epsilon(1e-12));
  for (int64_t b = 0; b < 8; ++b)
    for (int64_t c = 0; c < 8; ++c) {
      double in = 0;
      for (int64_t a = 0; a < 8; ++a)
        in += chain.stationary[a * 8 + b] * chain.next[(a * 8 + b) * 8 + c];
      CHECK(in == Approx(chain.stationary[b * 8 + c]).margin(1e-13));
    }
  // Code length of a long text under the chain, against the rate.
  const auto letters = sample_markov(chain, Rng(9), 200000);
  double bits = 0;
  for (std::size_t i = 2; i < letters.size(); ++i)
    bits -= std::log2(chain.next[(letters[i - 2] * 8 + letters[i - 1]) * 8 + letters[i]]);
  CHECK(bits / 199998 == Approx(chain.entropy_rate_bits()).margin(0.01));

  // Two letters with an order-1 law inside: rate = H(0.25) by hand.
  Markov hand;
  hand.letters = 2;
  hand.next = {0.75, 0.25, 0.25, 0.75, 0.75, 0.25, 0.25, 0.75};
  hand.stationary = {0.375, 0.125, 0.125, 0.375};
  CHECK(hand.entropy_rate_bits() == Approx(2 - 0.75 * std::log2(3)).epsilon(1e-14));

  DataOptions options;
  options.name = "markov";
  const auto set = open(options);
  CHECK(set->spec().alphabet == "abcdefgh");
  CHECK(set->size(Split::train) == 900000);
  CHECK(set->size(Split::validation) == 100000);
  CHECK(*set->spec().entropy_bits > 1);
  CHECK(*set->spec().entropy_bits < 3);
}
