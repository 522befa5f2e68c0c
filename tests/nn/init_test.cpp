// Initial values: distribution, roles, and words of enums.
#include "nn/init.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <tuple>

#include "autodiff/choice.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "nn/dropout.h"
#include "nn/mlp.h"
#include "nn/norm.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("initial distributions") {
  const Tensor z = nn::normal({100, 200}, 0.02, Rng(1)).value;
  const Tensor u = nn::uniform_fan_in({100, 200}, 16, Rng(1)).value;
  double mean = 0, variance = 0, low = 1, high = -1;
  for (int64_t i = 0; i < z.numel(); ++i) {
    mean += z.item(i) / 20000;
    variance += z.item(i) * z.item(i) / 20000;
    low = std::min(low, u.item(i));
    high = std::max(high, u.item(i));
  }
  CHECK(mean == Approx(0).margin(0.02 * 4 / std::sqrt(20000.0)));
  CHECK(std::sqrt(variance) == Approx(0.02).epsilon(0.02));
  CHECK(low >= -0.25);
  CHECK(low < -0.249);
  CHECK(high <= 0.25);
  CHECK(high > 0.249);
  CHECK_THROWS_AS(nn::uniform_fan_in({2}, 0, Rng(1)), Error);
  CHECK(nn::normal({3}, 0, Rng(1)).value.item(2) == 0);
  CHECK(nn::constant({2}, 1, nn::Role::norm, DType::f64).value.item(1) == 1);
}

TEST_CASE("buffers are not trained, everything else is") {
  CHECK_FALSE(nn::normal({3}, 1, Rng(1), nn::Role::buffer).value.requires_grad());
  CHECK(nn::normal({3}, 1, Rng(1)).value.requires_grad());
  CHECK(nn::given(Tensor::zeros({2}), nn::Role::dynamics).value.requires_grad());
  CHECK(std::string(nn::name(nn::Role::dynamics)) == "dynamics");
}

TEST_CASE("words of enums go there and back; unknown ones list the choices") {
  for (const char* word : {"ln", "ln_nobias", "rms"})
    CHECK(std::string(nn::name(nn::parse_norm(word, "model.norm"))) == word);
  for (const char* word : {"relu", "gelu_erf", "gelu_tanh", "silu", "swiglu"})
    CHECK(std::string(nn::name(nn::parse_activation(word, "model.activation"))) == word);
  try {
    nn::parse_norm("layer", "model.norm");
    FAIL("accepted");
  } catch (const Error& e) {
    CHECK(e.fault() == Fault::usage);
    CHECK_THAT(e.what(), Catch::Contains("model.norm") && Catch::Contains("\"layer\"") &&
                             Catch::Contains("ln, ln_nobias, rms"));
  }
  CHECK(choose<int>("b", {{"a", 1}, {"b", 2}}, "key") == 2);
}

TEST_CASE("dropout keeps the mean, is a function of its site, and is off in evaluation") {
  const Tensor x = Tensor::ones({20000}, DType::f64);
  const Rng site = Rng(1).split("dropout");
  const Tensor y = nn::dropout(x, 0.25, site, true);
  double mean = 0;
  int64_t zeros = 0;
  for (int64_t i = 0; i < y.numel(); ++i) {
    mean += y.item(i) / 20000;
    zeros += y.item(i) == 0;
  }
  CHECK(mean == Approx(1).margin(0.02));
  CHECK(zeros == Approx(5000).margin(250));
  CHECK(same_bits(y, nn::dropout(x, 0.25, site, true)));
  CHECK_FALSE(same_bits(y, nn::dropout(x, 0.25, site.split(1), true)));
  CHECK(same_bits(x, nn::dropout(x, 0.25, site, false)));
  CHECK(same_bits(x, nn::dropout(x, 0, site, true)));
  CHECK(nn::dropout(x, 1, site, true).item(7) == 0);
  CHECK_THROWS_AS(nn::dropout(x, 1.5, site, true), Error);
  check_gradients([&](std::span<const Tensor> in) { return nn::dropout(in[0], 0.5, site, true); },
                  {Rng(2).normal({10}, DType::f64)}, Rng(3));
}

TEST_CASE("orthogonal: orthonormal rows or columns in each block") {
  for (const auto& [rows, columns, blocks] :
       {std::tuple{12, 4, 3}, std::tuple{6, 5, 2}, std::tuple{7, 3, 1}}) {
    const Tensor w =
        nn::orthogonal(rows, columns, blocks, Rng(3), nn::Role::matrix, DType::f64).value;
    const int64_t each = rows / blocks, n = std::min<int64_t>(each, columns);
    for (int64_t b = 0; b < blocks; ++b) {
      const Tensor block = slice(w, 0, b * each, each);
      const Tensor gram = each <= columns ? matmul(block, block, {.transpose_b = true})
                                          : matmul(block, block, {.transpose_a = true});
      REQUIRE(gram.numel() == n * n);
      for (int64_t i = 0; i < n * n; ++i)
        CHECK(gram.item(i) == Approx(i % (n + 1) == 0 ? 1 : 0).margin(1e-12));
    }
  }
  CHECK_THROWS_WITH(nn::orthogonal(7, 3, 2, Rng(3)), Catch::Contains("7 rows"));
}
