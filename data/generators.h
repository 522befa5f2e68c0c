// Generated data with known entropy. A family that reports fewer bits than the entropy has a bug.
//
// Points (u ~ U(0,1), z ~ N(0,1); after FFJORD, Grathwohl et al. 2019, with streams that
// reproduce):
//   gauss8        (4 (cos k pi/4, sin k pi/4) + 0.5 z) / sqrt 2, k uniform in 0..7
//   moons         2 ((cos t, sin t) or (1 - cos t, 1/2 - sin t) + 0.1 z) + (-1, -0.2), t ~ U(0, pi)
//   rings         3 (r (cos t, sin t) + 0.08 z), r = 1 or 1/2, t ~ U(0, 2 pi)
//   checkerboard  uniform on the 8 squares of side 2 of [-4, 4]^2: differential entropy 5 bits
//   chain         D numbers, each a curve of the one before with noise: x_1 = z_1 and
//                 x_d = 1.5 sin(1.5 x_{d-1}) + 0.5 z_d. By the chain rule the differential entropy
//                 is D ln(2 pi e)/2 + (D - 1) ln 0.5 nats, though the law is far from a Gaussian
// Text:
//   markov        order 2, 8 letters, rows Dirichlet(1/2); entropy rate from the stationary law
#pragma once
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/planar.h"

namespace kindred::data {

struct GeneratorEntry {
  std::string name, summary;
  Modality modality;
  std::string options = {};  ///< of TaskOptions, each with a space after it
};
const std::vector<GeneratorEntry>& generators();
/// nullptr where there is none of that name.
const GeneratorEntry* find_generator(const std::string& name);

/// The law of a planar points generator.
PlanarLaw planar_law(const std::string& name);
/// Point number `index` of a planar generator: a function of (name, rng, index) only. With `inside`
/// it is redrawn until it falls on the square of planar.h.
std::array<double, 2> planar_point(const std::string& name, const Rng& rng, int64_t index,
                                   bool inside);

/// Points as f32 values (options.levels = 0) or quantised to options.levels cells an axis (2
/// symbols each; planar generators only): 50,000 for training, 10,000 each for validation and test,
/// from separate streams of the seed. spec().entropy_bits is the entropy per coordinate: of the
/// quantised law, or differential. `markov`: 1,000,000 letters.
std::shared_ptr<const Dataset> make_generated(DataSpec spec, const DataOptions& options);

/// A Markov chain over `letters` symbols of order 2.
struct Markov {
  int64_t letters = 0;
  std::vector<double> next;  ///< [letters^2, letters]: law after the pair (a, b), row a*letters+b
  std::vector<double> stationary;  ///< [letters^2]: law of the pairs
  /// sum over pairs of stationary * entropy of the row, in bits a letter.
  double entropy_rate_bits() const;
};
Markov make_markov(int64_t letters, const Rng& rng);
/// `count` letters of the stationary chain.
std::vector<int32_t> sample_markov(const Markov& chain, const Rng& rng, int64_t count);

}  // namespace kindred::data
