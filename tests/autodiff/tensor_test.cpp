// Tensor: shapes, buffers, views, dtypes, and their errors.
#include "autodiff/tensor.h"

#include <catch2/catch.hpp>
#include <cstdint>
#include <numeric>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/xt.h"

using namespace kindred;

TEST_CASE("shapes") {
  const Shape s{2, 3, 4};
  CHECK(s.rank() == 3);
  CHECK(s.numel() == 24);
  CHECK(s[-1] == 4);
  CHECK(s.with(1, 7) == Shape{2, 7, 4});
  CHECK(s.part(1, 3) == Shape{3, 4});
  CHECK(s.str() == "[2, 3, 4]");
  CHECK(Shape{}.numel() == 1);
  CHECK_THROWS_AS(s[3], Error);
  CHECK_THROWS_AS((Shape{1, 2, 3, 4, 5, 6, 7}), Error);
  CHECK(broadcast({2, 1, 4}, {3, 1}, "test") == Shape{2, 3, 4});
  CHECK(broadcast({}, {5}, "test") == Shape{5});
  CHECK(broadcast({0}, {1}, "test") == Shape{0});
  CHECK_THROWS_WITH(broadcast({2, 3}, {4}, "test"),
                    Catch::Contains("[2, 3]") && Catch::Contains("[4]"));
}

TEST_CASE("factories and access") {
  const Tensor t = Tensor::from<double>({1, 2, 3, 4}, {2, 2});
  CHECK(t.dtype() == DType::f64);
  CHECK(t.item(3) == 4);
  CHECK(t.bytes() == 32);
  CHECK(t.span<double>()[1] == 2);
  CHECK(reinterpret_cast<std::uintptr_t>(t.raw()) % 64 == 0);
  CHECK(Tensor::full({2}, 7, DType::i32).item(1) == 7);
  CHECK(Tensor::scalar(2.5).shape() == Shape{});
  CHECK(Tensor::zeros({0, 3}).numel() == 0);
  CHECK_FALSE(Tensor().defined());
  CHECK_THROWS_AS(Tensor().shape(), Error);
  CHECK_THROWS_WITH(t.data<float>(), Catch::Contains("f64") && Catch::Contains("f32"));
  CHECK_THROWS_AS(t.item(4), Error);
  CHECK_THROWS_AS(Tensor::from<float>({1, 2}, {3}), Error);
  CHECK_THROWS_AS(Tensor::empty({-1}), Error);
}

TEST_CASE("copies share, clones do not, conversions convert") {
  Tensor t = Tensor::from<float>({1, 2, 3});
  Tensor same = t, other = t.clone(), wide = t.to(DType::f64), whole = t.to(DType::i32);
  t.mutable_data<float>()[0] = 9;
  CHECK(same.item(0) == 9);
  CHECK(other.item(0) == 1);
  CHECK(wide.dtype() == DType::f64);
  CHECK(wide.item(2) == 3);
  CHECK(whole.item(1) == 2);
  other.copy_from(t);
  CHECK(other.item(0) == 9);
  CHECK_THROWS_AS(other.copy_from(wide), Error);
  CHECK(other.unique());
  CHECK_FALSE(t.unique());
}

TEST_CASE("views see the slab, and stay inside it") {
  Tensor slab = Tensor::zeros({10}, DType::f64);
  Tensor a = Tensor::view(slab, 2, {2, 2});
  a.mutable_data<double>()[3] = 5;
  CHECK(slab.item(5) == 5);
  CHECK_THROWS_AS(Tensor::view(slab, 8, {3}), Error);
  CHECK_THROWS_AS(Tensor::view(slab, -1, {3}), Error);
  CHECK(a.viewed_as({4}).item(3) == 5);
  CHECK_THROWS_AS(a.viewed_as({5}), Error);
}

TEST_CASE("leaves and history") {
  Tensor x = Tensor::from<double>({2});
  CHECK_FALSE(x.requires_grad());
  x.set_requires_grad();
  Tensor y = square(x);
  CHECK(y.requires_grad());
  CHECK(y.node() != nullptr);
  CHECK_FALSE(y.detach().requires_grad());
  CHECK(y.detach().raw() == y.raw());
  CHECK_FALSE(y.to(DType::f64).requires_grad());
  CHECK_THROWS_AS(y.set_requires_grad(), Error);
  CHECK_THROWS_AS(Tensor::zeros({1}, DType::i32).set_requires_grad(), Error);
  CHECK(x.same_as(x));
  CHECK_FALSE(x.same_as(x.detach()));
  CHECK(reshape(y, {1, 1}).raw() == y.raw());  // shares
}

TEST_CASE("xtensor at the edge: there and back, flat views, mathematics in double") {
  const Tensor t = Tensor::from<double>({1, 2, 3, 4, 5, 6}, {2, 3});
  const xt::xarray<double> a = to_xarray<double>(t);
  CHECK(a.shape(1) == 3);
  CHECK(a(1, 0) == 4);
  const Tensor back = from_xarray<double>(a * 2.0);
  CHECK(back.shape() == t.shape());
  CHECK(back.item(5) == 12);
  Tensor out = Tensor::empty({2, 3}, DType::f64);
  xt::noalias(flat_mutable<double>(out)) = flat<double>(t) + 1.0;
  CHECK(out.item(5) == 7);
  // inverse of [[2, 1], [1, 1]] is [[1, -1], [-1, 2]]
  const Tensor m = Tensor::from<double>({2, 1, 1, 1}, {2, 2});
  const Tensor inverse = from_xarray<double>(xt::linalg::inv(to_xarray<double>(m)));
  CHECK(inverse.item(0) == Approx(1));
  CHECK(inverse.item(3) == Approx(2));
}
