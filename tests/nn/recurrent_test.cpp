#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"
#include "nn/gru.h"
#include "nn/lstm.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

/// Weights as the script that made the golden values fills torch.nn.LSTM and GRU: element k of all
/// parameters in the order weight_ih, weight_hh, bias_ih, bias_hh is 0.7 sin(1.3 k + 0.2).
class Filling {
 public:
  Tensor next(const Shape& shape) {
    Tensor t = Tensor::empty(shape, DType::f64);
    for (int64_t i = 0; i < t.numel(); ++i)
      t.mutable_data<double>()[i] = 0.7 * std::sin(1.3 * static_cast<double>(k_++) + 0.2);
    return t;
  }

 private:
  int64_t k_ = 0;
};

Tensor golden_input() {
  Tensor x = Tensor::empty({2, 4, 3}, DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i)
    x.mutable_data<double>()[i] = std::cos(0.9 * static_cast<double>(i));
  return x;
}

void check_values(const Tensor& have, std::initializer_list<double> wanted) {
  REQUIRE(have.numel() == static_cast<int64_t>(wanted.size()));
  int64_t i = 0;
  for (const double w : wanted) CHECK(have.item(i++) == Approx(w).margin(2e-12).epsilon(0));
}

}  // namespace

// Golden values of torch 1.13 in double: torch.nn.LSTM(3, 2, batch_first=True), filled as above, on
// x = cos(0.9 i), h0 and c0 as below; the gradients are those of y.square().sum().
TEST_CASE("Lstm gives PyTorch's values and gradients") {
  Filling fill;
  nn::Lstm layer;
  layer.input.weight.value = fill.next({8, 3});
  layer.recurrent.value = fill.next({8, 2}).set_requires_grad();
  const Tensor bias_ih = fill.next({8}), bias_hh = fill.next({8});
  layer.input.bias = nn::Parameter{add(bias_ih, bias_hh), nn::Role::bias};
  std::vector<Tensor> state = {Tensor::from<double>({0.3, -0.5, 0.1, 0.8}, {2, 2}),
                               Tensor::from<double>({-0.2, 0.6, 0.4, -0.9}, {2, 2})};
  const Tensor y = layer(golden_input(), state);
  check_values(y, {-0.183373249746, 0.230905014585, 0.066815950473, -0.016459678488,
                   -0.300076228719, 0.113564019338, -0.026336379970, 0.082105549241,
                   -0.357545423657, -0.028660713668, -0.079250322290, 0.211488161850,
                   -0.157106199141, 0.040958954339, -0.156705849089, 0.201883516131});
  check_values(state[0], {-0.026336379970, 0.082105549241, -0.156705849089, 0.201883516131});
  check_values(state[1], {-0.049475418878, 0.125610483244, -0.455685326672, 0.380091899524});
  const Tensor dU = grad(sum(square(y)), layer.recurrent.value);
  check_values(slice(reshape(dU, {16}), 0, 0, 4),
               {0.012275261010, 0.029610438552, -0.017469058529, -0.008797679803});
  CHECK(std::sqrt(sum(square(dU)).item()) == Approx(0.11579341562308725).epsilon(1e-12));
}

TEST_CASE("Gru gives PyTorch's values and gradients") {
  Filling fill;
  nn::Gru layer;
  layer.input.weight.value = fill.next({6, 3});
  layer.recurrent.value = fill.next({6, 2}).set_requires_grad();
  const Tensor bias_ih = fill.next({6}), bias_hh = fill.next({6});
  // PyTorch adds bias_hh inside; only the candidate's part cannot be merged with bias_ih.
  layer.input.bias =
      nn::Parameter{add(bias_ih, pad(slice(bias_hh, 0, 0, 4), 0, 0, 2)), nn::Role::bias};
  layer.candidate.value = slice(bias_hh, 0, 4, 2);
  std::vector<Tensor> state = {Tensor::from<double>({0.3, -0.5, 0.1, 0.8}, {2, 2})};
  const Tensor y = layer(golden_input(), state);
  check_values(y, {0.419964216112, 0.474147069784, 0.801731341309, 0.039713279900, 0.247114732167,
                   0.362510933531, 0.721036558032, 0.200191151269, -0.179948159962, 0.767682981372,
                   0.355506123885, 0.789381262469, 0.456100481759, 0.563459697431, 0.344897337642,
                   0.748100990634});
  check_values(state[0], {0.721036558032, 0.200191151269, 0.344897337642, 0.748100990634});
  const Tensor dU = grad(sum(square(y)), layer.recurrent.value);
  check_values(slice(reshape(dU, {18 - 6}), 0, 0, 4),
               {0.191792783198, 0.116394426251, -0.028574373569, -0.002296721175});
  CHECK(std::sqrt(sum(square(dU)).item()) == Approx(1.3275488048545547).epsilon(1e-12));
}

TEST_CASE("recurrent layers go on from their state, with gradients through it") {
  const auto verify = [](const auto& layer, std::size_t states) {
    const Tensor x = Rng(3).normal({2, 9, 3}, DType::f64);
    const Tensor whole = layer(x);
    std::vector<Tensor> state(states);
    const Tensor first = layer(slice(x, 1, 0, 4), state), second = layer(slice(x, 1, 4, 5), state);
    CHECK(relative_difference(concat({first, second}, 1), whole) < 1e-14);
    CHECK(relative_difference(reshape(slice(whole, 1, 8, 1), {2, 5}), state[0]) < 1e-14);
    check_gradients(
        [&](std::span<const Tensor> in) {
          std::vector<Tensor> s(in.begin() + 1, in.end());
          const Tensor y = layer(in[0], s);
          Tensor total = sum(square(y));
          for (std::size_t i = 0; i < s.size(); ++i)
            total = total + sum(scale(tanh(s[i]), 1.0 + static_cast<double>(i)));
          return total;
        },
        [&] {
          std::vector<Tensor> in = {slice(x, 1, 0, 3)};
          for (std::size_t i = 0; i < states; ++i)
            in.push_back(Rng(4).split(i).normal({2, 5}, DType::f64));
          return in;
        }(),
        Rng(5));
  };
  verify(nn::Lstm::make(3, 5, Rng(1), DType::f64), nn::Lstm::kStates);
  verify(nn::Gru::make(3, 5, Rng(2), DType::f64), nn::Gru::kStates);
}

TEST_CASE("recurrent layers begin with orthogonal gates and an open forget gate") {
  const auto lstm = nn::Lstm::make(3, 8, Rng(6), DType::f64);
  const auto gru = nn::Gru::make(3, 8, Rng(6), DType::f64);
  for (int64_t k = 0; k < 32; ++k)
    CHECK(lstm.input.bias->value.item(k) == (k >= 8 && k < 16 ? 1 : 0));
  for (const Tensor& U : {lstm.recurrent.value, gru.recurrent.value})
    for (int64_t gate = 0; gate < U.dim(0) / 8; ++gate) {
      const Tensor block = slice(U, 0, gate * 8, 8);
      const Tensor product = matmul(block, block, {.transpose_b = true});
      for (int64_t i = 0; i < 64; ++i)
        CHECK(product.item(i) == Approx(i % 9 == 0 ? 1 : 0).margin(1e-12));
    }
  const double bound = std::sqrt(6.0 / 11);
  double largest = 0;
  for (int64_t i = 0; i < 96; ++i)
    largest = std::max(largest, std::abs(lstm.input.weight.value.item(i)));
  CHECK(largest < bound);
  CHECK(largest > 0.8 * bound);
}

TEST_CASE("recurrent layers refuse inputs and states that do not fit") {
  const auto lstm = nn::Lstm::make(3, 4, Rng(1));
  const auto gru = nn::Gru::make(3, 4, Rng(1));
  CHECK_THROWS_WITH(lstm(Tensor::zeros({2, 5, 4})), Catch::Contains("[2, 5, 4]"));
  CHECK_THROWS_WITH(gru(Tensor::zeros({2, 0, 3})), Catch::Contains("[2, 0, 3]"));
  std::vector<Tensor> one(1), wrong = {Tensor::zeros({3, 4}), Tensor()};
  CHECK_THROWS_WITH(lstm(Tensor::zeros({2, 5, 3}), one), Catch::Contains("two, h and c"));
  CHECK_THROWS_WITH(lstm(Tensor::zeros({2, 5, 3}), wrong), Catch::Contains("[3, 4]"));
}
