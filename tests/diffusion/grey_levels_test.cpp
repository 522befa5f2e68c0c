// Grey levels: encodings and their inverse, the decoder as a distribution over all K, bits under
// affine scaling.
#include "diffusion/grey_levels.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "diffusion/model_units.h"

using namespace kindred;
using namespace kindred::diffusion;

namespace {
/// q(z | k), written out.
double density(double z, double s, int64_t k, const GreyLevels& levels, Encoding encoding) {
  const double low =
      levels.shift + levels.scale * static_cast<double>(k) / static_cast<double>(levels.count);
  const double high = low + levels.scale / static_cast<double>(levels.count);
  if (encoding == Encoding::uniform) {
    const auto phi = [&](double edge) {
      return 0.5 * std::erfc(-(z - edge) / (s * std::numbers::sqrt2));
    };
    return (phi(low) - phi(high)) / (high - low);
  }
  const double t = (z - 0.5 * (low + high)) / s;
  return std::exp(-0.5 * t * t) / (s * std::sqrt(2 * std::numbers::pi));
}
}  // namespace

TEST_CASE("levels: encodings lie in their cells and come back, on any range", "[levels]") {
  const Tensor k = Tensor::from<int32_t>({0, 8, 16, 3, 9, 12}, {2, 3});
  for (const GreyLevels& levels :
       {GreyLevels(17), GreyLevels(17, 17, 0), GreyLevels(17, 0.3, 40)}) {
    const double width = levels.scale / 17;
    const Tensor y = dequantise(k, levels, Rng(9)), c = centres(k, levels);
    for (int64_t i = 0; i < 6; ++i) {
      const double low = levels.shift + width * k.item(i);
      CHECK(y.item(i) >= low);
      CHECK(y.item(i) < low + width);
      CHECK(c.item(i) == Approx(low + 0.5 * width).margin(1e-14));
      CHECK(quantise(y, levels).item(i) == k.item(i));
      CHECK(quantise(c, levels).item(i) == k.item(i));
    }
    // The same u on every range.
    const Tensor standard = dequantise(k, 17, Rng(9));
    for (int64_t i = 0; i < 6; ++i)
      CHECK((y.item(i) - levels.shift) / levels.scale ==
            Approx((standard.item(i) + 1) / 2).epsilon(1e-12));
  }
  // VDM: 2 (k + .5)/K - 1.
  CHECK(centres(Tensor::from<int32_t>({0, 255}, {1, 2}), 256).item(0) == -1 + 1.0 / 256);
  CHECK(centres(Tensor::from<int32_t>({0, 255}, {1, 2}), 256).item(1) == 1 - 1.0 / 256);
  CHECK_THROWS_WITH(centres(k, 16), Catch::Contains("symbol 16 is none of 16 levels"));
  CHECK_THROWS_WITH(dequantise(k, 16, Rng(1)), Catch::Contains("other levels"));
  CHECK_THROWS_AS(GreyLevels(0), Error);
  CHECK_THROWS_AS(GreyLevels(4, -1), Error);
  CHECK_THROWS_WITH(parse_encoding("objective.encoding", "center"),
                    Catch::Contains("centre, uniform"));
}

TEST_CASE("levels: the evidence is the sum of all levels, so the decoder sums to one", "[levels]") {
  for (const Encoding encoding : {Encoding::centre, Encoding::uniform})
    for (const GreyLevels& levels : {GreyLevels(3), GreyLevels(256), GreyLevels(20, 7, -2)})
      for (const double s : {0.001, 0.01, 0.3, 5.0})
        for (const double where : {-0.02, 0.0, 0.1371, 0.5, 0.9999, 1.03}) {
          const double z = levels.shift + levels.scale * where;
          double total = 0;
          for (int64_t k = 0; k < levels.count; ++k) total += density(z, s, k, levels, encoding);
          if (total < 1e-200) continue;  // the sum itself underflows there
          CAPTURE(levels.count, s, where, encoding == Encoding::centre);
          CHECK(log_evidence(z, s, levels, encoding) ==
                Approx(std::log(total)).epsilon(1e-8).margin(1e-9));
        }
  // Far outside, where the plain sum is 0: the nearest level is all that counts.
  const double t = (3 - (1 - 1.0 / 256)) / 0.01;
  CHECK(log_evidence(3, 0.01, 256, Encoding::centre) ==
        Approx(-0.5 * t * t - std::log(0.01 * std::sqrt(2 * std::numbers::pi))).epsilon(1e-9));
  const double row[] = {0.1, -0.4};
  CHECK(log_evidence(row, 2, 0.1, 8, Encoding::uniform) ==
        Approx(log_evidence(0.1, 0.1, 8, Encoding::uniform) +
               log_evidence(-0.4, 0.1, 8, Encoding::uniform)));
}

TEST_CASE("levels: the offset of a density is that of its cells, no constant", "[levels]") {
  // The uniform density on the whole range is log2 K bits a dimension, whatever the range.
  for (const GreyLevels& levels :
       {GreyLevels(256), GreyLevels(256, 1, 0), GreyLevels(256, 256, 0), GreyLevels(17, 10, 3)})
    CHECK(bits_of(-3 * std::log(levels.scale), 3, levels) ==
          Approx(3 * std::log2(static_cast<double>(levels.count))));
  CHECK(bits_of(0, 1, 256) == Approx(7));                    // 256 levels on [-1, 1]
  CHECK(bits_of(0, 1, GreyLevels(256, 1, 0)) == Approx(8));  // on [0, 1]
}

TEST_CASE("levels: moments of black and white, as points of cells and as centres", "[levels]") {
  data::Batch batch;
  batch.symbols = Tensor::from<int32_t>({0, 1, 1, 0}, {2, 2});  // centres -1/2 and 1/2
  CHECK(moments(batch, 2, Encoding::centre).mean == Approx(0).margin(1e-15));
  CHECK(moments(batch, 2, Encoding::centre).sd == Approx(0.5));
  // Uniform on [-1, 1].
  CHECK(moments(batch, 2).mean == Approx(0).margin(1e-15));
  CHECK(moments(batch, 2).sd == Approx(std::sqrt(1.0 / 3)));
  CHECK(measured_sd(batch, 2, "test", Encoding::centre) == Approx(0.5));
}
