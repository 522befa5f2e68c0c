// The memory pool: reuse, alignment, counters.
#include "autodiff/pool.h"

#include <catch2/catch.hpp>
#include <cstdint>

#include "autodiff/tensor.h"

using namespace kindred;

TEST_CASE("a released block is used again for the same size class") {
  void* a = pool::allocate(1000);
  CHECK(reinterpret_cast<std::uintptr_t>(a) % 64 == 0);
  pool::release(a, 1000);
  void* b = pool::allocate(970);  // rounds to the same 64-byte multiple
  CHECK(a == b);
  pool::release(b, 970);
  void* empty = pool::allocate(0);
  CHECK(empty != nullptr);
  pool::release(empty, 0);
}

TEST_CASE("freeze counts what is taken from the system afterwards") {
  pool::trim();  // whatever earlier tests left
  { const Tensor warm = Tensor::zeros({777}); }
  pool::freeze();
  for (int i = 0; i < 10; ++i) const Tensor again = Tensor::zeros({777});
  CHECK(pool::stats().allocations_when_frozen == 0);
  const Tensor a = Tensor::zeros({777});
  const Tensor b = Tensor::zeros({777});
  CHECK(pool::stats().allocations_when_frozen >= 1);
  pool::freeze();
  CHECK(pool::stats().allocations_when_frozen == 0);
}

TEST_CASE("bytes in use, peak and trim") {
  const PoolStats before = pool::stats();
  pool::reset_peak();
  {
    const Tensor t = Tensor::zeros({1 << 18});
    CHECK(pool::stats().bytes_in_use >= before.bytes_in_use + (1 << 20));
  }
  const PoolStats after = pool::stats();
  CHECK(after.bytes_in_use == before.bytes_in_use);
  CHECK(after.peak_bytes_in_use >= before.bytes_in_use + (1 << 20));
  CHECK(after.bytes_reserved >= after.bytes_in_use + (1 << 20));
  pool::trim();
  CHECK(pool::stats().bytes_reserved == pool::stats().bytes_in_use);
}
