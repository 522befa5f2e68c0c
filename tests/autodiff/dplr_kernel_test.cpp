// The DPLR kernel against naive powers of the dense real HiPPO systems it stands for (LegS: rank 1,
// LegT: rank 2), golden values, odd lengths and the Nyquist bin, f32 against f64, derivatives.
#include "autodiff/ops/dplr_kernel.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <complex>
#include <vector>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/pool.h"
#include "autodiff/xt.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

using Complex = std::complex<double>;
using Matrix = xt::xtensor<double, 2>;
using Column = xt::xtensor<double, 1>;

/// x' = A x + B u with A = S - sum_k P_k P_k^T, S = shift I + skew.
struct Hippo {
  Matrix A;
  Column B;
  std::vector<Column> P;
  double shift;
};
Hippo legs(std::size_t N) {
  Hippo h{Matrix({N, N}, 0.), Column::from_shape({N}), {Column::from_shape({N})}, -0.5};
  const auto r = [](std::size_t n) { return std::sqrt(2. * static_cast<double>(n) + 1); };
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t k = 0; k < n; ++k) h.A(n, k) = -r(n) * r(k);
    h.A(n, n) = -(static_cast<double>(n) + 1);
    h.B(n) = r(n);
    h.P[0](n) = r(n) / std::sqrt(2.);
  }
  return h;
}
/// Window 2, damped a little: its normal part alone is not.
Hippo legt(std::size_t N) {
  Hippo h{Matrix::from_shape({N, N}),
          Column::from_shape({N}),
          {Column({N}, 0.), Column({N}, 0.)},
          -1e-4};
  const auto r = [](std::size_t n) { return std::sqrt(2. * static_cast<double>(n) + 1); };
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t k = 0; k < N; ++k)
      h.A(n, k) = -0.5 * r(n) * r(k) * (n >= k || (k - n) % 2 == 0 ? 1 : -1);
    h.A(n, n) += h.shift;
    h.B(n) = 0.5 * r(n);
    h.P[n % 2](n) = r(n) / std::sqrt(2.);
  }
  return h;
}

/// One channel's inputs of the op, f64, and the kernel by naive powers of the dense system.
struct Problem {
  Tensor log_neg_re, im, P, B, C, log_dt;
  std::vector<double> expected;
  double largest = 0;

  Problem(const Hippo& h, double dt, int64_t length) {
    const std::size_t N = h.B.size(), M = N / 2, r = h.P.size();
    // Modes: eigenvectors of the normal part, Im > 0.
    xt::xtensor<Complex, 2> hermitian({N, N});
    for (std::size_t n = 0; n < N; ++n)
      for (std::size_t k = 0; k < N; ++k) {
        double s = h.A(n, k) - (n == k ? h.shift : 0);
        for (const Column& p : h.P) s += p(n) * p(k);
        hermitian(n, k) = Complex(0, -s);
      }
    const auto [values, vectors] = xt::linalg::eigh(hermitian);
    // Outputs: random c, and c~ = (I - Ab^L)^T c by L products.
    const Matrix identity = xt::eye<double>(N);
    const Matrix left = identity - dt / 2 * h.A, right = identity + dt / 2 * h.A;
    const Matrix Ab = xt::linalg::solve(left, right);
    const Column Bb = xt::linalg::solve(left, Column(dt * h.B));
    const Tensor drawn = Rng(7).normal({static_cast<int64_t>(N)}, DType::f64);
    Column c = Column::from_shape({N}), x = Bb;
    for (std::size_t n = 0; n < N; ++n) c(n) = drawn.item(static_cast<int64_t>(n));
    Column powered = c;
    for (int64_t l = 0; l < length; ++l) {
      double y = 0;
      for (std::size_t n = 0; n < N; ++n) y += c(n) * x(n);
      expected.push_back(y);
      largest = std::max(largest, std::abs(y));
      Column next({N}, 0.), next_powered({N}, 0.);
      for (std::size_t n = 0; n < N; ++n) {
        double sum = 0;
        for (std::size_t k = 0; k < N; ++k) {
          sum += Ab(n, k) * x(k);
          next_powered(k) += powered(n) * Ab(n, k);
        }
        next(n) = sum;
      }
      x = next;
      powered = next_powered;
    }
    const Column tilde = c - powered;

    const auto m = static_cast<int64_t>(M), rank = static_cast<int64_t>(r);
    log_neg_re = Tensor::full({1, m}, std::log(std::max(-h.shift, 1e-300)), DType::f64);
    im = Tensor::empty({1, m}, DType::f64);
    P = Tensor::empty({2, rank, 1, m}, DType::f64);
    B = Tensor::empty({2, 1, m}, DType::f64);
    C = Tensor::empty({2, 1, m}, DType::f64);
    log_dt = Tensor::full({1}, std::log(dt), DType::f64);
    for (std::size_t i = 0; i < M; ++i) {
      const std::size_t at = M + i;  // values ascend and come in pairs +-w
      im.mutable_data<double>()[i] = values(at);
      const auto project = [&](const Column& v, bool conjugated) {
        Complex sum = 0;
        for (std::size_t n = 0; n < N; ++n)
          sum += (conjugated ? std::conj(vectors(n, at)) : vectors(n, at)) * v(n);
        return sum;
      };
      const auto put = [&](Tensor& t, std::size_t index, Complex z) {
        t.mutable_data<double>()[index] = z.real();
        t.mutable_data<double>()[static_cast<std::size_t>(t.numel()) / 2 + index] = z.imag();
      };
      for (std::size_t k = 0; k < r; ++k) put(P, k * M + i, project(h.P[k], true));
      put(B, i, project(h.B, true));
      put(C, i, project(tilde, false));
    }
  }
  Tensor kernel(DType dtype) const {
    const auto length = static_cast<int64_t>(expected.size());
    if (P.dim(1) == 1)
      return dplr_kernel(log_neg_re.to(dtype), im.to(dtype), P.viewed_as(B.shape()).to(dtype),
                         B.to(dtype), C.to(dtype), log_dt.to(dtype), length);
    return dplr_kernel_of_rank(log_neg_re.to(dtype), im.to(dtype), P.to(dtype), B.to(dtype),
                               C.to(dtype), log_dt.to(dtype), length);
  }
  double error(const Tensor& K) const {
    double worst = 0;
    for (std::size_t l = 0; l < expected.size(); ++l) {
      const double e = std::abs(K.item(static_cast<int64_t>(l)) - expected[l]);
      if (e > worst || std::isnan(e)) worst = e;
    }
    return worst / largest;
  }
};

}  // namespace

TEST_CASE("DPLR kernel equals naive powers of the dense LegS system", "[dplr]") {
  const Hippo h = legs(64);
  for (const int64_t L : {1, 2, 15, 16, 784, 997, 1024, 16384})
    for (const double dt : {1e-3, 1e-2, 1e-1}) {
      const Problem p(h, dt, L);
      INFO("L " << L << " dt " << dt);
      CHECK(p.error(p.kernel(DType::f64)) <= 1e-11);
      CHECK(p.error(p.kernel(DType::f32)) <= 1e-5);
    }
}

TEST_CASE("DPLR kernel of rank 2 equals naive powers of the dense LegT system", "[dplr]") {
  const Hippo h = legt(32);
  for (const int64_t L : {1, 15, 16, 500})
    for (const double dt : {1e-3, 1e-2, 1e-1}) {
      const Problem p(h, dt, L);
      INFO("L " << L << " dt " << dt);
      CHECK(p.error(p.kernel(DType::f64)) <= 1e-11);
      CHECK(p.error(p.kernel(DType::f32)) <= 1e-5);
    }
}

TEST_CASE("DPLR kernel golden values and gradients", "[dplr]") {
  // LegS, N = 4; dLoss/dK_l = 1 / (1 + l).
  const double dt = 0.1, p0 = .6837235872, p1 = 1.8795004805, root = std::sqrt(2.);
  std::vector<Tensor> in = {
      Tensor::full({1, 2}, std::log(0.5), DType::f64),
      Tensor::from({.5565011151, 4.6032930071}).viewed_as({1, 2}),
      Tensor::from({p0, p1, 0., 0.}).viewed_as({2, 1, 2}),
      Tensor::from({root * p0, root * p1, 0., 0.}).viewed_as({2, 1, 2}),
      Tensor::from({1., -.5, .5, 1.}).viewed_as({2, 1, 2}),
      Tensor::from({std::log(dt)}),
  };
  for (Tensor& t : in) t.set_requires_grad();
  const Tensor K = dplr_kernel(in[0], in[1], in[2], in[3], in[4], in[5], 8);
  const double expected[] = {-.0692383050, -.1241946661, -.1012187008, -.0534248991,
                             -.0066135670, .0286172885,  .0496766643,  .0578160046};
  for (int l = 0; l < 8; ++l) CHECK(std::abs(K.item(l) - expected[l]) <= 1e-9);

  Tensor seed = Tensor::empty({1, 8}, DType::f64);
  for (int l = 0; l < 8; ++l) seed.mutable_data<double>()[l] = 1. / (1 + l);
  const auto g = grad(K, in, seed);
  const Complex lambda[] = {{-.3599851130, -.6139844937}, {.0058405540, .0183100201}};
  const Complex P[] = {{-.2071909453, .8006198494}, {.1224244994, .0637964513}};
  const Complex B[] = {{.4352063460, -1.1014837854}, {-.2187630597, -.1185065902}};
  const Complex C[] = {{.3804691221, -.3274217688}, {.3070371398, -.2239005960}};
  const auto close = [&](std::size_t input, int n, const Complex& value) {
    CHECK(std::abs(g[input].item(n) - value.real()) <= 1e-8);
    CHECK(std::abs(g[input].item(2 + n) - value.imag()) <= 1e-8);
  };
  for (int n = 0; n < 2; ++n) {
    // theta = log(-Re lambda): d/dtheta = Re(lambda) d/dRe, Re(lambda) = -1/2.
    CHECK(std::abs(g[0].item(n) - -0.5 * lambda[n].real()) <= 1e-8);
    CHECK(std::abs(g[1].item(n) - lambda[n].imag()) <= 1e-8);
    close(2, n, P[n]);
    close(3, n, B[n]);
    close(4, n, C[n]);
  }
  CHECK(std::abs(g[5].item() - dt * -1.9676753175) <= 1e-8);
}

namespace {

/// Channels of LegS modes with steps from 1e-3 to 1e-1, values moved a little, C random.
std::vector<Tensor> channels(int64_t H, int64_t M, bool step_per_mode) {
  const Problem one(legs(static_cast<std::size_t>(2 * M)), 0.01, 1);
  const Rng rng(9);
  const auto noise = [&](const char* name, const Shape& shape, double size) {
    return scale(rng.split(name).normal(shape, DType::f64), size);
  };
  const Shape modes{H, M}, planes{2, H, M};
  std::vector<Tensor> in = {
      one.log_neg_re + noise("re", modes, 0.1),
      one.im * (noise("im", modes, 0.01) + 1),
      one.P.viewed_as({2, 1, M}) + noise("P", planes, 0.1),
      one.B + noise("B", planes, 0.1),
      noise("C", planes, 0.7),
      noise("dt", step_per_mode ? modes : Shape{H}, 0.1),
  };
  for (int64_t i = 0; i < in[5].numel(); ++i) {
    const double part = static_cast<double>(step_per_mode ? i / M : i) / static_cast<double>(H);
    in[5].mutable_data<double>()[i] += std::log(1e-3) + std::log(100) * part;
  }
  return in;
}
Tensor kernel_of(std::span<const Tensor> in, int64_t L) {
  return dplr_kernel(in[0], in[1], in[2], in[3], in[4], in[5], L);
}

}  // namespace

TEST_CASE("DPLR kernel and gradients in f32 agree with f64, row by row", "[dplr]") {
  const std::vector<Tensor> base = channels(5, 32, false);
  for (const int64_t L : {1, 15, 784, 997, 4096, 16384}) {
    const Tensor seed = Rng(4).normal({5, L}, DType::f32);
    Tensor K[2];
    std::vector<Tensor> g[2];
    for (const DType dtype : {DType::f32, DType::f64}) {
      std::vector<Tensor> in;
      for (const Tensor& t : base) {
        in.push_back(t.to(DType::f32).to(dtype));
        in.back().set_requires_grad();
      }
      K[dtype == DType::f64] = kernel_of(in, L);
      g[dtype == DType::f64] = grad(K[dtype == DType::f64], in, seed.to(dtype));
    }
    // A row is compared with the size of that row: steps differ by a factor of 100.
    const auto worst = [](const Tensor& low, const Tensor& high, int64_t rows, int64_t planes) {
      const int64_t row = high.numel() / (rows * planes);
      double found = 0;
      for (int64_t h = 0; h < rows; ++h) {
        double difference = 0, size = 0;
        for (int64_t i = 0; i < planes * row; ++i) {
          const int64_t at = (i / row * rows + h) * row + i % row;
          difference = std::max(difference, std::abs(low.item(at) - high.item(at)));
          size = std::max(size, std::abs(high.item(at)));
        }
        found = std::max(found, difference / size);
      }
      return found;
    };
    INFO("L " << L);
    CHECK(worst(K[0], K[1], 5, 1) <= 1e-5);
    for (std::size_t i = 0; i < 6; ++i) {
      INFO("input " << i);
      // The gradient of log dt is one number a channel, a sum over modes that cancel.
      const double tolerance = i == 5 ? 1e-4 : 2e-5;
      CHECK(worst(g[0][i], g[1][i], 5, base[i].rank() == 3 ? 2 : 1) <= tolerance);
    }
  }
}

TEST_CASE("DPLR kernel derivatives by central differences, odd and even lengths", "[dplr]") {
  for (const bool step_per_mode : {false, true})
    for (const int64_t L : {14, 15}) {
      INFO("L " << L << " step per mode " << step_per_mode);
      check_gradients(
          [L](std::span<const Tensor> in) {
            const Tensor K = kernel_of(in, L);
            return K + square(K);
          },
          channels(2, 3, step_per_mode), Rng(3), 1e-6, 1e-4);
    }
}

TEST_CASE("DPLR kernel of rank 2: derivatives by central differences", "[dplr]") {
  std::vector<Tensor> in = channels(2, 3, true);
  const Tensor P = in[2];
  in[2] = Rng(8).normal({2, 2, 2, 3}, DType::f64);
  check_gradients(
      [](std::span<const Tensor> x) {
        return dplr_kernel_of_rank(x[0], x[1], x[2], x[3], x[4], x[5], 11);
      },
      in, Rng(3), 1e-6, 1e-4);
  // Two equal columns P / sqrt(2) are one column P.
  const Tensor column = scale(P.viewed_as({2, 1, 2, 3}), std::sqrt(0.5));
  CHECK(relative_difference(
            dplr_kernel_of_rank(in[0], in[1], concat({column, column}, 1), in[3], in[4], in[5], 11),
            dplr_kernel(in[0], in[1], P, in[3], in[4], in[5], 11)) <= 1e-12);
}

TEST_CASE("the composed DPLR kernel takes many channels in bounded memory", "[dplr]") {
  // 20 channels of 32 modes and 4097 bins; a plane over all of them has 21 MB.
  std::vector<Tensor> in = channels(20, 32, false);
  for (Tensor& t : in) t.set_requires_grad();
  const int64_t L = 8192;
  const Tensor seed = Rng(4).normal({20, L}, DType::f64);
  const Tensor fused = kernel_of(in, L);
  const std::vector<Tensor> expected = grad(fused, in, seed);
  pool::reset_peak();
  const auto before = pool::stats().bytes_in_use;
  const Tensor P = reshape(in[2], {2, 1, 20, 32});
  const Tensor K = dplr_kernel_of_rank(in[0], in[1], P, in[3], in[4], in[5], L);
  const std::vector<Tensor> g = grad(K, in, seed);
  CHECK(pool::stats().peak_bytes_in_use - before <= 200e6);
  CHECK(relative_difference(K, fused) <= 1e-12);
  for (std::size_t i = 0; i < in.size(); ++i) {
    INFO("input " << i);
    CHECK(relative_difference(g[i], expected[i]) <= 1e-10);
  }
}

TEST_CASE("second derivatives of the DPLR kernel through groups of channels", "[dplr]") {
  // Large enough for the composite to be cut into groups that are recomputed.
  const std::vector<Tensor> base = channels(3, 16, false);
  const int64_t L = 40000;
  const Tensor w = Rng(4).normal({3, L}, DType::f64);
  const auto f = [&](const Tensor& C) {
    const Tensor K = dplr_kernel(base[0], base[1], base[2], base[3], C, base[5], L);
    return sum(mul(w, square(K)));
  };
  const Tensor v = Rng(5).normal(base[4].shape(), DType::f64);
  const Tensor r = Rng(6).normal(base[4].shape(), DType::f64);
  // K is linear in C, so the second derivative in directions v and r is 2 sum w K(v) K(r).
  const auto at = [&](const Tensor& C) {
    return dplr_kernel(base[0], base[1], base[2], base[3], C, base[5], L);
  };
  const double expected = 2 * sum(mul(w, mul(at(v), at(r)))).item();
  CHECK(sum(mul(hvp(f, base[4], v), r)).item() == Approx(expected).epsilon(1e-9));
}

TEST_CASE("a channel with a NaN leaves the others alone", "[dplr]") {
  std::vector<Tensor> in = channels(2, 4, false);
  const Tensor clean = kernel_of(in, 33);
  in[4] = in[4].clone();
  in[4].mutable_data<double>()[1] = std::nan("");
  const Tensor K = kernel_of(in, 33);
  for (int64_t l = 0; l < 33; ++l) {
    CHECK(std::isnan(K.item(l)));
    CHECK(K.item(33 + l) == Approx(clean.item(33 + l)).epsilon(1e-12).margin(1e-15));
  }
}
