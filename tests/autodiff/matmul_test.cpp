// Matrix products against triple loops, for all flags, batches, strides and sizes around the blocks
// of the kernels; bits independent of the thread count; bf16 rounding.
#include "autodiff/ops/matmul.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>

#include "autodiff/graph.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "autodiff/rng.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {
/// op(a) op(b) for matrices, in double.
Tensor reference(const Tensor& a, const Tensor& b, MatmulFlags f) {
  const int64_t m = a.dim(f.transpose_a ? 1 : 0), k = a.dim(f.transpose_a ? 0 : 1),
                n = b.dim(f.transpose_b ? 0 : 1);
  Tensor c = Tensor::zeros({m, n}, DType::f64);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j) {
      double total = 0;
      for (int64_t l = 0; l < k; ++l)
        total += a.item(f.transpose_a ? l * m + i : i * k + l) *
                 b.item(f.transpose_b ? j * k + l : l * n + j);
      c.mutable_data<double>()[i * n + j] = total;
    }
  return c;
}
struct Sizes {
  int64_t m, n, k;
};
}  // namespace

TEST_CASE("products of all flags and many sizes") {
  const Rng rng(1);
  for (const auto& [m, n, k] :
       {Sizes{1, 1, 1}, {1, 17, 5}, {16, 16, 16}, {33, 7, 65}, {5, 100, 3}, {130, 70, 40}})
    for (int flags = 0; flags < 4; ++flags) {
      const MatmulFlags f{(flags & 1) != 0, (flags & 2) != 0};
      const Tensor a = rng.split(1).normal(f.transpose_a ? Shape{k, m} : Shape{m, k}, DType::f64);
      const Tensor b = rng.split(2).normal(f.transpose_b ? Shape{n, k} : Shape{k, n}, DType::f64);
      const Tensor truth = reference(a, b, f);
      INFO(m << ' ' << n << ' ' << k << " flags " << flags);
      CHECK(relative_difference(matmul(a, b, f), truth) < 1e-13);
      CHECK(relative_difference(matmul(a.to(DType::f32), b.to(DType::f32), f), truth) < 1e-5);
    }
}

TEST_CASE("batches, and one matrix shared by a batch") {
  const Rng rng(2);
  for (DType dtype : {DType::f32, DType::f64})
    for (int flags = 0; flags < 4; ++flags) {
      const MatmulFlags f{(flags & 1) != 0, (flags & 2) != 0};
      const Shape sa = f.transpose_a ? Shape{4, 5} : Shape{5, 4},
                  sb = f.transpose_b ? Shape{6, 4} : Shape{4, 6};
      auto batched = [](const Shape& s) { return Shape{2, 3, s[0], s[1]}; };
      const Tensor a = rng.split(1).normal(batched(sa), dtype),
                   b = rng.split(2).normal(batched(sb), dtype);
      const Tensor a0 = Tensor::view(a, 0, sa), b0 = Tensor::view(b, 0, sb);
      const Tensor both = matmul(a, b, f), share_b = matmul(a, b0, f), share_a = matmul(a0, b, f);
      REQUIRE(both.shape() == Shape{2, 3, 5, 6});
      for (int i = 0; i < 6; ++i) {
        const Tensor ai = Tensor::view(a, i * 20, sa), bi = Tensor::view(b, i * 24, sb);
        INFO(name(dtype) << " flags " << flags << " batch " << i);
        CHECK(relative_difference(Tensor::view(both, i * 30, {5, 6}), reference(ai, bi, f)) < 1e-5);
        CHECK(relative_difference(Tensor::view(share_b, i * 30, {5, 6}), reference(ai, b0, f)) <
              1e-5);
        CHECK(relative_difference(Tensor::view(share_a, i * 30, {5, 6}), reference(a0, bi, f)) <
              1e-5);
      }
    }
}

TEST_CASE("linear: values, one row, and no bias") {
  const Tensor x = Tensor::from<double>({1, 2}),
               w = Tensor::from<double>({1, 10, 100, 1000, 0, 1}, {3, 2}),
               b = Tensor::from<double>({0.5, 0, -1});
  const Tensor y = linear(x, w, b);
  REQUIRE(y.shape() == Shape{3});
  CHECK(y.item(0) == 21.5);
  CHECK(y.item(1) == 2100);
  CHECK(y.item(2) == 1);
  CHECK(linear(x.viewed_as({1, 1, 2}), w).item(0) == 21);
  check_gradients([](std::span<const Tensor> in) { return linear(in[0], in[1], in[2]); }, {x, w, b},
                  Rng(4));
  CHECK_THROWS_WITH(linear(Tensor::zeros({2, 4}, DType::f64), w),
                    Catch::Contains("[2, 4]") && Catch::Contains("[3, 2]"));
}

TEST_CASE("products do not depend on the number of threads") {
  const int before = threads();
  const Rng rng(3);
  for (const auto& [m, n, k] : {Sizes{8, 8, 20000},
                                {32, 32, 8192},
                                {1, 3000, 700},
                                {300, 40, 500},
                                {64, 64, 64},
                                {2048, 16, 16},
                                {100, 200, 300},
                                {18, 1031, 18},
                                {35, 333, 64}})
    for (int flags = 0; flags < 4; ++flags) {
      const MatmulFlags f{(flags & 1) != 0, (flags & 2) != 0};
      const Tensor a = rng.split(1).normal(f.transpose_a ? Shape{k, m} : Shape{m, k});
      const Tensor b = rng.split(2).normal(f.transpose_b ? Shape{n, k} : Shape{k, n});
      set_threads(1);
      const Tensor one = matmul(a, b, f), exact = matmul(a.to(DType::f64), b.to(DType::f64), f);
      set_threads(2);
      INFO(m << ' ' << n << ' ' << k << " flags " << flags);
      CHECK(same_bits(one, matmul(a, b, f)));
      CHECK(same_bits(exact, matmul(a.to(DType::f64), b.to(DType::f64), f)));
    }
  set_threads(before);
}

TEST_CASE("gemm: row strides, accumulation, empty products") {
  const Tensor a = Rng(1).normal({4, 9}, DType::f64), b = Rng(2).normal({3, 8}, DType::f64);
  for (DType dtype : {DType::f32, DType::f64}) {
    const Tensor at = a.to(dtype), bt = b.to(dtype);
    Tensor c = Tensor::full({4, 10}, 1, dtype);  // c[:, :5] += a[:, :3] b[:, :5]
    Gemm g;
    g.m = 4, g.n = 5, g.k = 3, g.lda = 9, g.ldb = 8, g.ldc = 10, g.accumulate = true;
    g.a = at.raw(), g.b = bt.raw(), g.c = c.mutable_raw();
    gemm(g, dtype);
    for (int i = 0; i < 4; ++i)
      for (int j = 0; j < 10; ++j) {
        double truth = 1;
        for (int l = 0; l < 3 && j < 5; ++l) truth += a.item(i * 9 + l) * b.item(l * 8 + j);
        CHECK(c.item(i * 10 + j) == Approx(truth).margin(1e-5));
      }
  }
  const Tensor none = matmul(Tensor::zeros({2, 0}), Tensor::zeros({0, 3}));
  REQUIRE(none.shape() == Shape{2, 3});
  CHECK(none.item(5) == 0);
  CHECK(matmul(Tensor::zeros({0, 2}), Tensor::zeros({2, 3})).numel() == 0);
}

TEST_CASE("bf16 products round their inputs and sum in f32") {
  if (!bf16_obstacle().empty()) {
    CHECK_THROWS_WITH(set_gemm_precision(GemmPrecision::bf16), Catch::Contains(bf16_obstacle()));
    return;
  }
  set_gemm_precision(GemmPrecision::bf16);
  const Tensor a = Rng(1).normal({40, 50}), b = Rng(2).normal({50, 30});
  const Tensor low = matmul(a, b);
  set_gemm_precision(GemmPrecision::f32);
  const Tensor full = matmul(a, b);
  const double difference = relative_difference(low, full);
  CHECK(difference > 1e-5);
  CHECK(difference < 2e-2);
  // Small integers are exact in bf16.
  const Tensor one = Tensor::from<float>({1, 2, 3, 4}, {2, 2});
  set_gemm_precision(GemmPrecision::bf16);
  const Tensor product = matmul(one, one);
  set_gemm_precision(GemmPrecision::f32);
  CHECK(product.item(3) == 22);
  const Tensor nan = Tensor::from<float>({std::bit_cast<float>(0x7fffffffu), 0, 0, 1}, {2, 2});
  set_gemm_precision(GemmPrecision::bf16);
  const Tensor poisoned = matmul(nan, one);
  set_gemm_precision(GemmPrecision::f32);
  CHECK(std::isnan(poisoned.item(0)));
}

namespace {
/// To bfloat16 and back, to nearest even.
double rounded(double x) {
  const auto bits = std::bit_cast<uint32_t>(static_cast<float>(x));
  return std::bit_cast<float>((bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u);
}
}  // namespace

TEST_CASE("bf16 products: every transposition, odd sizes, sums onto c, the same for any threads") {
  if (!bf16_obstacle().empty()) return;
  const int before = threads();
  struct Size {
    int64_t m, n, k;
  };
  for (const Size& size : {Size{6, 1, 1}, Size{5, 33, 7}, Size{12, 32, 64}, Size{13, 31, 33},
                           Size{50, 70, 391}, Size{200, 65, 130}})
    for (int flags = 0; flags < 8; ++flags) {
      const bool ta = flags & 1, tb = flags & 2, accumulate = flags & 4;
      const auto [m, n, k] = size;
      const Tensor a = Rng(1).normal(ta ? Shape{k, m} : Shape{m, k});
      const Tensor b = Rng(2).normal(tb ? Shape{n, k} : Shape{k, n});
      Tensor one = Rng(3).normal({m, n}), two = one.clone();
      const Tensor start = one.clone();
      set_gemm_precision(GemmPrecision::bf16);
      for (Tensor* c : {&one, &two}) {
        set_threads(c == &one ? 1 : 2);
        gemm({.transpose_a = ta,
              .transpose_b = tb,
              .m = m,
              .n = n,
              .k = k,
              .a = a.raw(),
              .b = b.raw(),
              .c = c->mutable_raw(),
              .lda = a.dim(1),
              .ldb = b.dim(1),
              .ldc = n,
              .accumulate = accumulate},
             DType::f32);
      }
      set_gemm_precision(GemmPrecision::f32);
      double worst = 0;
      for (int64_t i = 0; i < m; ++i)
        for (int64_t j = 0; j < n; ++j) {
          double truth = accumulate ? start.item(i * n + j) : 0, size_of_sum = 1;
          for (int64_t p = 0; p < k; ++p) {
            const double term = rounded(a.item(ta ? p * m + i : i * k + p)) *
                                rounded(b.item(tb ? j * k + p : p * n + j));
            truth += term;
            size_of_sum += std::abs(term);
          }
          worst = std::max(worst, std::abs(one.item(i * n + j) - truth) / size_of_sum);
        }
      INFO(m << 'x' << n << 'x' << k << " flags " << flags);
      CHECK(worst < 1e-6);
      CHECK(std::memcmp(one.raw(), two.raw(), one.bytes()) == 0);
    }
  set_threads(before);
}

TEST_CASE("the library behind the products is named") {
  CHECK(gemm_description().find("OpenBLAS") != std::string::npos);
}

TEST_CASE("a recorder keeps the matrix products of a piece of work, in order") {
  Tensor x = Rng(1).normal({6, 5}), w = Rng(2).normal({4, 5});
  x.set_requires_grad();
  w.set_requires_grad();
  {
    const GemmRecorder recorder;
    CHECK_THROWS_WITH(GemmRecorder(), Catch::Contains("[gemm]"));
    const Tensor y = linear(x, w);
    grad(y, std::vector<Tensor>{x, w});
    const auto& calls = recorder.calls();
    REQUIRE(calls.size() == 3);  // y = x w^T, dx = g w, dw = g^T x
    CHECK(calls[0].call.a == x.raw());
    CHECK(calls[0].call.b == w.raw());
    CHECK(calls[0].call.c == y.raw());
    for (const auto& [g, dtype] : calls) {
      CHECK(g.batch * g.m * g.n * g.k == 6 * 5 * 4);
      CHECK(dtype == DType::f32);
    }
    CHECK(calls[0].call.transpose_b);
  }
  const GemmRecorder later;
  CHECK(later.calls().empty());
}
