// Memory of a gated S4 layer on a long sequence: what training a block of it needs at most.
#include <catch2/catch.hpp>

#include "apps/bench/gated_layer.h"
#include "autodiff/graph.h"
#include "autodiff/pool.h"
#include "ssm/s4_layer.h"

using namespace kindred;

TEST_CASE("forward and backward of an S4 layer take at most 7 signals and 100 MB", "[apps][s4]") {
  const int64_t B = 8, H = 128, L = 16384;
  ssm::S4Options options;
  options.width = H;
  options.l_kernel = L;
  auto model = apps::bench::GatedLayer<ssm::S4Layer>::make(options, Rng(1));
  const Tensor x = Rng(2).normal({B, L, H}).set_requires_grad();
  const Tensor seed = Rng(3).normal({B, L, H});
  std::vector<Tensor> wanted{x};
  for (const nn::NamedParameter& p : nn::parameters_of(model))
    if (p.parameter->role != nn::Role::buffer) wanted.push_back(p.parameter->value);
  pool::reset_peak();
  const double before = static_cast<double>(pool::stats().bytes_in_use);
  const std::vector<Tensor> g = grad(model(x), wanted, seed);
  const double above = static_cast<double>(pool::stats().peak_bytes_in_use) - before;
  const double signal = 4. * static_cast<double>(B * H * L);
  INFO(above / 1e6 << " MB, " << (above - 100e6) / signal << " signals and 100 MB");
  CHECK(above <= 7 * signal + 100e6);
  CHECK(g.size() == wanted.size());
}
