#include "data/generators.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/parallel.h"
#include "data/element_dataset.h"
#include "data/file.h"
#include "data/tasks.h"
#include "data/text_dataset.h"

namespace kindred::data {

namespace {
using std::numbers::pi;
using std::numbers::sqrt2;

constexpr int64_t kTrain = 50000, kHeldOut = 10000, kMarkovLength = 1000000, kMarkovLetters = 8;
constexpr int64_t kNodes =
    512;  // of the quadrature along a curve: 1/30 of the noise apart, or less

/// Numbers of one point: position `at` counts through its own stream.
struct Draws {
  Rng rng;
  uint64_t at = 0;
  double uniform() { return rng.uniform(at++); }
  double normal() { return rng.normal(at++); }
};

std::array<double, 2> draw(const std::string& name, Draws& d) {
  if (name == "gauss8") {
    const double angle = std::floor(8 * d.uniform()) * pi / 4;
    const double x = 4 * std::cos(angle) + 0.5 * d.normal();
    const double y = 4 * std::sin(angle) + 0.5 * d.normal();
    return {x / sqrt2, y / sqrt2};
  }
  if (name == "moons") {
    const bool upper = d.uniform() < 0.5;
    const double t = pi * d.uniform();
    const double x = (upper ? std::cos(t) : 1 - std::cos(t)) + 0.1 * d.normal();
    const double y = (upper ? std::sin(t) : 0.5 - std::sin(t)) + 0.1 * d.normal();
    return {2 * x - 1, 2 * y - 0.2};
  }
  if (name == "rings") {
    const double r = d.uniform() < 0.5 ? 1 : 0.5;
    const double t = 2 * pi * d.uniform();
    const double x = r * std::cos(t) + 0.08 * d.normal();
    const double y = r * std::sin(t) + 0.08 * d.normal();
    return {3 * x, 3 * y};
  }
  const double x = 4 * d.uniform() - 2;  // checkerboard
  const double column = std::floor(x);
  const double odd = column - 2 * std::floor(column / 2);
  const double y = d.uniform() - 2 * std::floor(2 * d.uniform()) + odd;
  return {2 * x, 2 * y};
}

int64_t limited(int64_t count, int64_t limit) { return limit ? std::min(count, limit) : count; }

/// grad log p of the data blurred by N(0, blur^2 I), at x [B, D].
using TrueScore = std::function<Tensor(const Tensor& x, double blur)>;

/// Splits of elements of spec.length numbers, symbols where it has levels: write(stream of the
/// split, number of the element, rows) fills in one. The sha256 of all goes into the spec.
template <class Write>
std::shared_ptr<const Dataset> make_elements(DataSpec spec, const DataOptions& options, Write write,
                                             TrueScore score = {}) {
  const Rng rng = Rng(options.seed).split(options.name);
  const bool symbols = spec.levels > 0;
  std::array<Rows, 3> splits;
  std::string digests;
  for (Split split : {Split::train, Split::validation, Split::test}) {
    Rows& rows = splits[static_cast<std::size_t>(split)];
    rows.count = split == Split::train ? limited(kTrain, options.train_limit)
                                       : limited(kHeldOut, options.test_limit);
    const Rng stream = rng.split(name(split));
    const auto total = static_cast<std::size_t>(spec.length * rows.count);
    (symbols ? rows.symbols.resize(total) : rows.values.resize(total));
    parallel_for(rows.count, 1024, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) write(stream, i, rows);
    });
    const void* raw = symbols ? static_cast<const void*>(rows.symbols.data()) : rows.values.data();
    digests +=
        sha256({static_cast<const char*>(raw), total * (symbols ? 1 : sizeof(float))}) + '\n';
  }
  spec.sha256 = sha256(digests);
  return make_element_dataset(std::move(spec), std::move(splits), std::move(score));
}

std::shared_ptr<const Dataset> make_chain(DataSpec spec, const DataOptions& options) {
  constexpr double kNoise = 0.5;
  check(options.levels == 0, "data", "levels = ", options.levels,
        " does not apply to chain; its numbers are real");
  const int64_t D = option_or("length", options.task.length, 8, 1, 1024);
  spec.modality = Modality::points;
  spec.width = spec.length = D;
  spec.entropy_bits = 0.5 * std::log2(2 * pi * std::numbers::e) +
                      std::log2(kNoise) * static_cast<double>(D - 1) / static_cast<double>(D);
  return make_elements(std::move(spec), options, [D](const Rng& rng, int64_t index, Rows& rows) {
    Draws draws{rng.split(static_cast<uint64_t>(index))};
    double x = draws.normal();
    for (int64_t d = 0; d < D; ++d) {
      if (d > 0) x = 1.5 * std::sin(1.5 * x) + kNoise * draws.normal();
      rows.values[D * index + d] = static_cast<float>(x);
    }
  });
}

std::shared_ptr<const Dataset> make_points(DataSpec spec, const DataOptions& options) {
  check(options.levels == 0 || (options.levels >= 2 && options.levels <= 256), "data",
        "levels = ", options.levels, "; quantised points have 2 to 256 levels, 0 leaves them real");
  const PlanarLaw law = planar_law(options.name);
  const int64_t levels = options.levels;
  spec.modality = Modality::points;
  spec.levels = levels;
  spec.width = spec.length = 2;
  spec.entropy_bits =
      (levels ? entropy_bits(cell_masses(law, levels)) : differential_entropy_bits(law)) / 2;
  TrueScore score;
  if (levels == 0 && !law.uniform)
    score = [law](const Tensor& x, double blur) { return planar_score(law, x, blur); };
  const auto write = [&](const Rng& rng, int64_t index, Rows& rows) {
    const auto point = planar_point(options.name, rng, index, levels > 0);
    for (int k = 0; k < 2; ++k) {
      const double cell =
          std::floor((point[k] + kPlanarHalf) * static_cast<double>(levels) / (2 * kPlanarHalf));
      if (levels)
        rows.symbols[2 * index + k] = static_cast<uint8_t>(cell);
      else
        rows.values[2 * index + k] = static_cast<float>(point[k]);
    }
  };
  return make_elements(std::move(spec), options, write, std::move(score));
}

std::shared_ptr<const Dataset> make_markov_text(DataSpec spec, const DataOptions& options) {
  check(options.levels == 0, "data", "markov has ", kMarkovLetters,
        " letters; levels does not apply");
  const Rng rng = Rng(options.seed).split(options.name);
  const Markov chain = make_markov(kMarkovLetters, rng.split("chain"));
  auto letters = sample_markov(chain, rng.split("letters"), kMarkovLength);
  spec.entropy_bits = chain.entropy_rate_bits();
  std::vector<char32_t> symbols;
  for (int64_t a = 0; a < kMarkovLetters; ++a) symbols.push_back(U'a' + static_cast<char32_t>(a));
  const Alphabet alphabet = Alphabet::of(symbols);
  spec.sha256 = sha256(alphabet.decode(letters));
  return make_text_dataset(std::move(spec), alphabet, std::move(letters), options);
}
}  // namespace

const std::vector<GeneratorEntry>& generators() {
  static const std::vector<GeneratorEntry> all = {
      {"chain",
       "points of `length` numbers (8), each a noisy curve of the one before; known entropy",
       Modality::points, "length "},
      {"checkerboard", "points, uniform on 8 squares; differential entropy 5 bits",
       Modality::points},
      {"gauss8", "points, 8 Gaussians on a circle", Modality::points},
      {"markov", "text, order-2 Markov chain over 8 letters with known entropy rate",
       Modality::text},
      {"moons", "points, two interleaving half circles with noise", Modality::points},
      {"rings", "points, two concentric circles with noise", Modality::points},
  };
  return all;
}

const GeneratorEntry* find_generator(const std::string& name) {
  const auto at = std::find_if(generators().begin(), generators().end(),
                               [&](const GeneratorEntry& g) { return g.name == name; });
  return at == generators().end() ? nullptr : &*at;
}

PlanarLaw planar_law(const std::string& name) {
  PlanarLaw law;
  const auto add = [&](double weight, double x, double y) {
    law.weight.push_back(weight);
    law.x.push_back(x);
    law.y.push_back(y);
  };
  if (name == "gauss8") {
    law.width = 0.5 / sqrt2;
    for (int k = 0; k < 8; ++k)
      add(1.0 / 8, 4 * std::cos(k * pi / 4) / sqrt2, 4 * std::sin(k * pi / 4) / sqrt2);
  } else if (name == "moons") {
    law.width = 0.2;
    const Quadrature arc = fejer(kNodes, pi);
    for (std::size_t k = 0; k < arc.node.size(); ++k) {
      const double c = std::cos(arc.node[k]), s = std::sin(arc.node[k]);
      add(arc.weight[k] / 2, 2 * c - 1, 2 * s - 0.2);
      add(arc.weight[k] / 2, 2 * (1 - c) - 1, 2 * (0.5 - s) - 0.2);
    }
  } else if (name == "rings") {
    law.width = 0.24;
    for (double radius : {3.0, 1.5})
      for (int64_t k = 0; k < kNodes; ++k) {  // equal weights are spectrally accurate on a circle
        const double t = 2 * pi * static_cast<double>(k) / static_cast<double>(kNodes);
        add(0.5 / static_cast<double>(kNodes), radius * std::cos(t), radius * std::sin(t));
      }
  } else if (name == "checkerboard") {
    law.uniform = true;
    law.width = 1;
    // Columns x in [-4,-2), [-2,0), [0,2), [2,4): even ones have y in [-4,-2) and [0,2), odd ones
    // y in [-2,0) and [2,4).
    for (int column = 0; column < 4; ++column)
      for (int k = 0; k < 2; ++k) add(1.0 / 8, 2 * column - 3, 4 * k - 3 + 2 * (column % 2));
  } else {
    fail(Fault::usage, "data", "no generator of points is called ", name);
  }
  return law;
}

std::array<double, 2> planar_point(const std::string& name, const Rng& rng, int64_t index,
                                   bool inside) {
  Draws draws{rng.split(static_cast<uint64_t>(index))};
  for (;;) {
    const auto p = draw(name, draws);
    const auto fits = [](double v) { return v >= -kPlanarHalf && v < kPlanarHalf; };
    if (!inside || (fits(p[0]) && fits(p[1]))) return p;
  }
}

std::shared_ptr<const Dataset> make_generated(DataSpec spec, const DataOptions& options) {
  if (options.name == "markov") return make_markov_text(std::move(spec), options);
  if (options.name == "chain") return make_chain(std::move(spec), options);
  return make_points(std::move(spec), options);
}

double Markov::entropy_rate_bits() const {
  double bits = 0;
  for (std::size_t pair = 0; pair < stationary.size(); ++pair)
    for (int64_t c = 0; c < letters; ++c) {
      const double p = next[pair * letters + c];
      if (p > 0) bits -= stationary[pair] * p * std::log2(p);
    }
  return bits;
}

Markov make_markov(int64_t letters, const Rng& rng) {
  Markov chain;
  chain.letters = letters;
  const int64_t pairs = letters * letters;
  for (int64_t pair = 0; pair < pairs; ++pair) {
    // z^2 / 2 is Gamma(1/2), and Gammas over their sum are Dirichlet.
    std::vector<double> row;
    double sum = 0;
    for (int64_t c = 0; c < letters; ++c) {
      const double z = rng.normal(static_cast<uint64_t>(pair * letters + c));
      row.push_back(z * z);
      sum += row.back();
    }
    for (double r : row) chain.next.push_back(r / sum);
  }
  constexpr int kMostSteps = 100000;
  chain.stationary.assign(static_cast<std::size_t>(pairs), 1 / static_cast<double>(pairs));
  for (int step = 0; step < kMostSteps; ++step) {
    std::vector<double> after(chain.stationary.size(), 0.0);
    for (int64_t a = 0; a < letters; ++a)
      for (int64_t b = 0; b < letters; ++b)
        for (int64_t c = 0; c < letters; ++c)
          after[b * letters + c] +=
              chain.stationary[a * letters + b] * chain.next[(a * letters + b) * letters + c];
    double change = 0;
    for (int64_t p = 0; p < pairs; ++p) change += std::abs(after[p] - chain.stationary[p]);
    chain.stationary = std::move(after);
    if (change < 1e-15) break;
  }
  return chain;
}

std::vector<int32_t> sample_markov(const Markov& chain, const Rng& rng, int64_t count) {
  const auto pick = [&](const double* law, int64_t n, uint64_t at) {
    double left = rng.uniform(at);
    int64_t last = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (law[i] > 0) last = i;
      left -= law[i];
      if (left < 0) return i;
    }
    return last;  // rounding: the law sums to a little less than 1
  };
  std::vector<int32_t> letters;
  letters.reserve(static_cast<std::size_t>(count));
  int64_t pair = pick(chain.stationary.data(), chain.letters * chain.letters, 0);
  for (int64_t i = 0; i < count; ++i) {
    letters.push_back(static_cast<int32_t>(pair / chain.letters));
    const int64_t c =
        pick(chain.next.data() + pair * chain.letters, chain.letters, static_cast<uint64_t>(i) + 1);
    pair = pair % chain.letters * chain.letters + c;
  }
  return letters;
}

}  // namespace kindred::data
