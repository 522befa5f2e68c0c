// What every backbone of sequences promises, for nets of any kind with forward and stepper.
#pragma once
#include <catch2/catch.hpp>
#include <span>
#include <vector>

#include "autodiff/ops/layout.h"
#include "harness/backbone.h"
#include "tests/support/tensors.h"

namespace kindred::test {

/// Sequences of up to 64 steps.
inline harness::BackboneSpec spec_of(int64_t in, int64_t out, bool causal = true,
                                     bool time = false) {
  return {.in_channels = in, .out_channels = out, .length = 64, .causal = causal, .time = time};
}

/// Single steps after a prefill of all but 8 equal forward. x [B, L, C].
template <class Net>
void check_steps(const Net& net, const Tensor& x, double tolerance) {
  const int64_t L = x.dim(1);
  const Tensor y = net.forward(x, harness::Context());
  const auto stepper = net.stepper(x.dim(0));
  REQUIRE(stepper);
  Tensor steps = stepper->prefill(slice(x, 1, 0, L - 8));
  CHECK(stepper->position() == L - 8);
  for (int64_t t = L - 8; t < L; ++t) steps = concat({steps, stepper->step(slice(x, 1, t, 1))}, 1);
  CHECK(stepper->position() == L);
  CHECK(difference(steps, y) <= tolerance * largest(y));
}

/// Outputs of the first half do not see the second (up to `tolerance`) if causal, else they do.
template <class Net>
void check_direction(const Net& net, bool causal, const Tensor& x, double tolerance = 0) {
  const int64_t L = x.dim(1), C = x.dim(2), half = L / 2;
  Tensor changed = x.clone();
  for (int64_t i = 0; i < x.numel(); ++i)
    if (i / C % L >= half) changed.mutable_data<float>()[i] *= -1.5f;
  const Tensor a = net.forward(x, harness::Context()), b = net.forward(changed, harness::Context());
  const double before = difference(slice(a, 1, 0, half), slice(b, 1, 0, half));
  CHECK(difference(slice(a, 1, half, L - half), slice(b, 1, half, L - half)) > 0.1);
  if (causal) {
    CHECK(before <= tolerance * largest(a));
  } else {
    CHECK(before > 1e-3);
    CHECK(net.stepper(1) == nullptr);
  }
}

/// Rows of these lengths are what each is alone, without its padding.
template <class Net>
void check_padding(const Net& net, const Tensor& x, const std::vector<int32_t>& lengths,
                   double tolerance) {
  harness::Context context;
  context.lengths = Tensor::from(std::span<const int32_t>(lengths), {x.dim(0)});
  const Tensor y = net.forward(x, context);
  for (int64_t b = 0; b < x.dim(0); ++b) {
    const int64_t n = lengths[static_cast<std::size_t>(b)];
    const Tensor alone = net.forward(slice(slice(x, 0, b, 1), 1, 0, n), harness::Context());
    CHECK(difference(slice(slice(y, 0, b, 1), 1, 0, n), alone) <= tolerance * largest(alone));
  }
}

}  // namespace kindred::test
