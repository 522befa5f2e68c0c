// The S4 layer: its kernel against powers of the dense HiPPO matrix, convolution equals recurrence in
// all step modes, other lengths and rates, states in and out, derivatives, refusals.
#include "ssm/s4_layer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "autodiff/functional.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"
#include "ssm/nplr.h"
#include "ssm/s4_stepping.h"
#include "tests/support/gradcheck.h"

using namespace kindred;
using namespace kindred::ssm;
using test::relative_difference;

namespace {

S4Layer make(int64_t H, int64_t N, int64_t l, DType dtype,
             const std::function<void(S4Options&)>& change = {}) {
  S4Options o;
  o.width = H;
  o.state = N;
  o.l_kernel = l;
  o.dt_min = 1e-2;
  if (change) change(o);
  S4Layer layer = S4Layer::make(o, Rng(41), dtype);
  layer.D.value = Rng(42).normal({H}, dtype).set_requires_grad();
  return layer;
}

/// The layer in single steps, never by products.
Tensor by_steps(const S4Layer& layer, const Tensor& u) {
  S4Stepping stepping(layer, u.dim(0));
  Tensor all;
  for (int64_t t = 0; t < u.dim(1); t += kPrefill - 1) {
    const Tensor part =
        stepping.advance(slice(u, 1, t, std::min<int64_t>(kPrefill - 1, u.dim(1) - t)));
    all = all.defined() ? concat({all, part}, 1) : part;
  }
  return all;
}

}  // namespace

TEST_CASE("S4 convolution, and steps linear and dense, agree for every initialisation", "[s4]") {
  for (const char* init : {"legs", "legt", "lagt", "fout", "random"})
    for (const char* dt : {"channel", "state"})
      for (const int64_t L : {40, 150}) {
        INFO(init << ' ' << dt << " L " << L);
        S4Layer layer = make(9, 8, 150, DType::f64, [&](S4Options& o) {
          o.init = init;
          o.dt = dt;
        });
        const Tensor u = Rng(43).normal({2, L, 9}, DType::f64), y = layer(u);
        CHECK(relative_difference(by_steps(layer, u), y) <= 1e-11);
        layer.step_mode = StepMode::dense;
        CHECK(relative_difference(by_steps(layer, u), y) <= 1e-11);
      }
}
