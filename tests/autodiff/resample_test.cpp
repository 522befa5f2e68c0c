// Nearest upsampling and pooling against small known images, and as transposes of one another.
#include "autodiff/ops/resample.h"

#include <catch2/catch.hpp>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("upsample_nearest2x repeats pixels") {
  const Tensor x = Tensor::from<double>({1, 2, 3, 4}, {1, 2, 2, 1});
  const Tensor even =
      Tensor::from<double>({1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4}, {1, 4, 4, 1});
  const Tensor odd = Tensor::from<double>({1, 1, 2, 1, 1, 2, 3, 3, 4}, {1, 3, 3, 1});
  CHECK(same_bits(upsample_nearest2x(x), even));
  CHECK(same_bits(upsample_nearest2x(x, 3, 3), odd));
  CHECK_THROWS_AS(upsample_nearest2x(x, 5, 4), Error);
}

TEST_CASE("upsample_concat repeats pixels beside the finer image") {
  const Tensor x = Tensor::from<double>({1, 2, 3, 4}, {1, 1, 2, 2});
  const Tensor own = Tensor::from<double>({5, 6, 7, 8, 9, 10}, {1, 2, 3, 1});
  CHECK(same_bits(
      upsample_concat(x, own),
      Tensor::from<double>({1, 2, 5, 1, 2, 6, 3, 4, 7, 1, 2, 8, 1, 2, 9, 3, 4, 10}, {1, 2, 3, 3})));
}

TEST_CASE("sum_pool2x adds windows, cut off at an odd border") {
  const Tensor x = Tensor::from<double>({1, 2, 3, 4, 5, 6, 7, 8, 9}, {1, 3, 3, 1});
  CHECK(same_bits(sum_pool2x(x), Tensor::from<double>({12, 9, 15, 9}, {1, 2, 2, 1})));
  const Tensor even = Tensor::from<double>({1, 2, 3, 4}, {1, 2, 2, 1});
  CHECK(avg_pool2x(even).item() == 2.5);
  CHECK_THROWS_AS(avg_pool2x(x), Error);
}

TEST_CASE("upsampling and pooling are adjoint") {
  for (const auto& [height, width] : {std::pair<int64_t, int64_t>{8, 6}, {7, 5}, {1, 1}, {1, 4}}) {
    const Tensor x = Rng(1).normal({2, (height + 1) / 2, (width + 1) / 2, 5}, DType::f64);
    const Tensor g = Rng(2).normal({2, height, width, 5}, DType::f64);
    CHECK(sum(mul(upsample_nearest2x(x, height, width), g)).item() ==
          Approx(sum(mul(x, sum_pool2x(g))).item()).epsilon(1e-12));
  }
}
