// Group normalisation against its definition as loops over one group at a time in double.
#include "autodiff/ops/group_norm.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/parallel.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

Tensor by_definition(const Tensor& x, int64_t groups, const Tensor& gain, const Tensor& shift,
                     double eps, bool with_silu) {
  const int64_t batch = x.dim(0), c = x.dim(-1), positions = x.numel() / (batch * c),
                d = c / groups;
  Tensor y = Tensor::empty(x.shape(), DType::f64);
  for (int64_t b = 0; b < batch; ++b)
    for (int64_t g = 0; g < groups; ++g) {
      const auto at = [&](int64_t s, int64_t k) { return (b * positions + s) * c + g * d + k; };
      double mean = 0, var = 0;
      for (int64_t s = 0; s < positions; ++s)
        for (int64_t k = 0; k < d; ++k) mean += x.item(at(s, k));
      mean /= static_cast<double>(positions * d);
      for (int64_t s = 0; s < positions; ++s)
        for (int64_t k = 0; k < d; ++k) var += std::pow(x.item(at(s, k)) - mean, 2);
      var /= static_cast<double>(positions * d);
      for (int64_t s = 0; s < positions; ++s)
        for (int64_t k = 0; k < d; ++k) {
          const double z = (x.item(at(s, k)) - mean) / std::sqrt(var + eps) * gain.item(g * d + k) +
                           shift.item(g * d + k);
          y.mutable_data<double>()[at(s, k)] = with_silu ? z / (1 + std::exp(-z)) : z;
        }
    }
  return y;
}

struct Case {
  Shape shape;
  int64_t groups;
};
const Case kCases[] = {{{3, 7, 7, 24}, 8}, {{2, 14, 14, 32}, 8}, {{2, 5, 6}, 3},     {{4, 10}, 2},
                       {{2, 3, 3, 1}, 1},  {{2, 4, 4, 200}, 10}, {{1, 28, 28, 8}, 8}};

}  // namespace

TEST_CASE("group_norm equals its definition, with and without SiLU") {
  for (const Case& c : kCases)
    for (const DType dtype : {DType::f64, DType::f32}) {
      INFO(c.shape << " groups " << c.groups << ' ' << name(dtype));
      const Tensor x = add_scalar(Rng(1).normal(c.shape, DType::f64), 0.7).to(dtype);
      const Tensor gain = Rng(2).uniform({c.shape[-1]}, dtype),
                   shift = Rng(3).normal({c.shape[-1]}, dtype);
      const double tolerance = dtype == DType::f64 ? 1e-13 : 3e-6;
      const Tensor plain = group_norm(x, c.groups, gain, shift, 1e-5);
      const Tensor fused = group_norm_silu(x, c.groups, gain, shift, 1e-5);
      CHECK(relative_difference(plain.to(DType::f64),
                                by_definition(x, c.groups, gain, shift, 1e-5, false)) < tolerance);
      CHECK(relative_difference(fused.to(DType::f64),
                                by_definition(x, c.groups, gain, shift, 1e-5, true)) < tolerance);
    }
}

TEST_CASE("group_norm keeps its digits where the mean is large") {
  const Tensor noise = Rng(1).normal({2, 14, 14, 16}, DType::f64);
  const Tensor x = add_scalar(noise, 1000).to(DType::f32);
  const Tensor one = Tensor::ones({16}), zero = Tensor::zeros({16});
  const Tensor expected = by_definition(x, 4, one, zero, 1e-5, false);
  CHECK(relative_difference(group_norm(x, 4, one, zero).to(DType::f64), expected) < 1e-3);
}

TEST_CASE("group_norm has derivatives of first and second order") {
  for (const bool with_silu : {false, true})
    check_gradients(
        [&](std::span<const Tensor> in) {
          const Tensor y = with_silu ? group_norm_silu(in[0], 2, in[1], in[2])
                                     : group_norm(in[0], 2, in[1], in[2]);
          return square(y);
        },
        {Rng(1).normal({2, 3, 3, 6}, DType::f64), Rng(2).uniform({6}, DType::f64),
         Rng(3).normal({6}, DType::f64)},
        Rng(4));
}

TEST_CASE("group_norm gives the same bits with one and with two threads") {
  const int before = threads();
  Tensor values[2], gradients[2];
  for (int n = 0; n < 2; ++n) {
    set_threads(n + 1);
    const Tensor x = Rng(1).normal({5, 9, 9, 24}).set_requires_grad();
    values[n] = group_norm_silu(x, 8, Tensor::ones({24}), Tensor::zeros({24}));
    gradients[n] = grad(values[n], x, Rng(2).normal(x.shape()));
  }
  set_threads(before);
  CHECK(same_bits(values[0], values[1]));
  CHECK(same_bits(gradients[0], gradients[1]));
}
