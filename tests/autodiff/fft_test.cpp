// The FFT seam against the definition of the discrete Fourier transform, and the choice of lengths.
#include "autodiff/ops/fft.h"

#include <catch2/catch.hpp>
#include <numbers>
#include <vector>

#include "autodiff/pool.h"
#include "autodiff/rng.h"

using namespace kindred;

namespace {

template <class T>
class AlignedRow {
 public:
  explicit AlignedRow(int64_t n)
      : bytes_(static_cast<std::size_t>(n) * sizeof(std::complex<T>)),
        p_(static_cast<std::complex<T>*>(pool::allocate(bytes_))) {}
  ~AlignedRow() { pool::release(p_, bytes_); }
  AlignedRow(const AlignedRow&) = delete;
  AlignedRow& operator=(const AlignedRow&) = delete;
  std::complex<T>* get() { return p_; }

 private:
  std::size_t bytes_;
  std::complex<T>* p_;
};

template <class T>
void compare_with_definition(int64_t n, double tolerance) {
  const Rng rng(7);
  std::vector<std::complex<double>> x(static_cast<std::size_t>(n));
  AlignedRow<T> in(n), out(n);
  for (int64_t l = 0; l < n; ++l) {
    x[l] = {static_cast<T>(rng.normal(2 * l)), static_cast<T>(rng.normal(2 * l + 1))};
    in.get()[l] = std::complex<T>(x[l]);
  }
  const Fft<T> fft(n);
  REQUIRE(fft.size() == n);
  fft.forward(in.get(), out.get());
  double worst = 0, largest = 0;
  for (int64_t j = 0; j < n; ++j) {
    std::complex<double> sum = 0;
    for (int64_t l = 0; l < n; ++l)
      sum += x[l] * std::polar(1., -2 * std::numbers::pi * static_cast<double>(j * l % n) /
                                       static_cast<double>(n));
    worst = std::max(worst, std::abs(sum - std::complex<double>(out.get()[j])));
    largest = std::max(largest, std::abs(sum));
  }
  CHECK(worst <= tolerance * largest);
  fft.inverse(out.get(), in.get());
  worst = 0;
  for (int64_t l = 0; l < n; ++l)
    worst = std::max(worst,
                     std::abs(std::complex<double>(in.get()[l]) / static_cast<double>(n) - x[l]));
  CHECK(worst <= 4 * tolerance);
}

}  // namespace

TEST_CASE("fft equals its definition", "[fft]") {
  for (const int64_t n : {1, 2, 5, 16, 48, 80, 400}) {
    INFO("n = " << n);
    compare_with_definition<double>(n, 1e-14);
    compare_with_definition<float>(n, 5e-7);
  }
  CHECK_THROWS_WITH(Fft<float>(0), Catch::Contains("length 0"));
}

TEST_CASE("good sizes are the smallest multiples of 16 with factors 2, 3 and 5", "[fft]") {
  const auto good = [](int64_t n) {
    if (n % 16 != 0) return false;
    for (const int64_t p : {2, 3, 5})
      while (n % p == 0) n /= p;
    return n == 1;
  };
  for (int64_t n = 1; n < 5000; ++n) {
    int64_t expected = n;
    while (!good(expected)) ++expected;
    if (fft_good_size(n) != expected) FAIL("n = " << n << ": " << fft_good_size(n));
  }
  CHECK(fft_good_size(2 * 784 - 1) == 1600);
  CHECK(fft_good_size(2 * 16384 - 1) == 32768);
}
