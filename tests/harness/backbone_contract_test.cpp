// What every backbone promises by itself: a causal one does not see what comes later, padding does
// not reach what is valid, single steps equal the whole sequence. Parameters are randomised, since
// maps that start at zero would hide a leak.
#include <catch2/catch.hpp>
#include <functional>

#include "autodiff/graph.h"
#include "harness/parity.h"
#include "tests/harness/tiny.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;

namespace {

constexpr int64_t kBatch = 2, kLength = 16, kChannels = 3;
constexpr double kRounding = 2e-5;  // of the largest output, in f32

/// Two-way backbones may read the sequence as an image; causal ones read it in order.
BackboneSpec spec_of(bool causal) {
  BackboneSpec spec{.in_channels = kChannels,
                    .out_channels = 4,
                    .length = kLength,
                    .height = causal ? 1 : 4,
                    .width = causal ? kLength : 4};
  spec.causal = causal;
  return spec;
}

/// Runs a check on every backbone that takes the spec; others must refuse it by a usage error.
int for_each_backbone(bool causal, const std::function<void(const AnyBackbone&)>& check_one) {
  const NoGrad off;
  int fitting = 0;
  for (const BackboneEntry& entry : backbones()) {
    INFO(entry.name << (causal ? ", causal" : ", both ways"));
    Settings settings;
    for (const auto& [key, value] : tiny_model(entry.name)) settings.set(key, value, "test");
    AnyBackbone backbone;
    try {
      backbone = entry.make(spec_of(causal), settings, Rng(3));
    } catch (const Error& error) {
      REQUIRE(error.fault() == Fault::usage);
      continue;
    }
    std::vector<nn::NamedParameter> parameters;
    backbone.parameters("backbone", parameters);
    for (std::size_t k = 0; k < parameters.size(); ++k) {
      nn::Parameter& p = *parameters[k].parameter;
      if (p.role == nn::Role::buffer || p.value.dtype() != DType::f32) continue;
      const Tensor noise = Rng(7).split(k).normal(p.value.shape());
      for (int64_t i = 0; i < noise.numel(); ++i)
        p.value.mutable_data<float>()[i] += 0.2f * noise.data<float>()[i];
    }
    ++fitting;
    check_one(backbone);
  }
  return fitting;
}

/// x with all numbers of the steps from `first` on replaced.
Tensor changed(const Tensor& x, int64_t row, int64_t first, uint64_t seed) {
  Tensor y = x.clone();
  const Tensor other = Rng(seed).normal(x.shape());
  const int64_t L = x.dim(1), C = x.dim(2);
  for (int64_t i = (row * L + first) * C; i < (row + 1) * L * C; ++i)
    y.mutable_data<float>()[i] = other.data<float>()[i];
  return y;
}

/// Largest difference within the steps [begin, end) of a row.
double apart(const Tensor& a, const Tensor& b, int64_t row, int64_t begin, int64_t end) {
  const int64_t L = a.dim(1), C = a.dim(2);
  double most = 0;
  for (int64_t i = (row * L + begin) * C; i < (row * L + end) * C; ++i)
    most = std::max(most, std::abs(a.item(i) - b.item(i)));
  return most;
}

}  // namespace

TEST_CASE("contract: a causal backbone does not see later steps, the others see both sides") {
  const Tensor x = Rng(1).normal({kBatch, kLength, kChannels});
  const int causal = for_each_backbone(true, [&](const AnyBackbone& backbone) {
    const Tensor y = backbone.forward(x, Context());
    REQUIRE(y.shape() == Shape{kBatch, kLength, 4});
    const double scale = largest(y);
    for (const int64_t t : {int64_t{1}, kLength / 2, kLength - 1}) {
      INFO("steps from " << t << " on changed");
      const Tensor z = backbone.forward(changed(x, 0, t, 2), Context());
      CHECK(apart(y, z, 0, 0, t) <= kRounding * scale);
      CHECK(apart(y, z, 0, t, kLength) > 1e-3 * scale);        // they are read at all
      CHECK(apart(y, z, 1, 0, kLength) <= kRounding * scale);  // rows do not meet
    }
  });
  CHECK(causal >= 8);  // attention, s4, s4d, lssl, s5, mamba, lstm, gru
  const int both = for_each_backbone(false, [&](const AnyBackbone& backbone) {
    const Tensor y = backbone.forward(x, Context());
    const Tensor z = backbone.forward(changed(x, 0, kLength - 1, 2), Context());
    CHECK(apart(y, z, 0, 0, 1) > kRounding * largest(y));
    CHECK(apart(y, z, 1, 0, kLength) <= kRounding * largest(y));
  });
  CHECK(both >= 9);  // and unet
}

TEST_CASE("contract: padding does not reach the steps before it") {
  const int64_t length = 10;
  const Tensor x = Rng(1).normal({kBatch, kLength, kChannels});
  Tensor alone = Tensor::empty({1, length, kChannels});
  std::copy_n(x.data<float>(), alone.numel(), alone.mutable_data<float>());
  int padded = 0;
  for (const bool causal : {true, false})
    for_each_backbone(causal, [&](const AnyBackbone& backbone) {
      Context context;
      context.lengths = Tensor::from<int32_t>({static_cast<int32_t>(length), kLength});
      Tensor y;
      try {
        y = backbone.forward(x, context);
      } catch (const Error& error) {
        REQUIRE(error.fault() == Fault::usage);
        CHECK_THAT(error.what(), Catch::Contains("takes no lengths"));
        return;
      }
      ++padded;
      const double scale = largest(y);
      const Tensor z = backbone.forward(changed(x, 0, length, 2), context);
      CHECK(apart(y, z, 0, 0, length) <= kRounding * scale);
      CHECK(apart(y, z, 1, 0, kLength) <= kRounding * scale);
      // As if the row were given alone.
      const Tensor whole = backbone.forward(alone, Context());
      for (int64_t i = 0; i < whole.numel(); ++i)
        REQUIRE(whole.item(i) == Approx(y.item(i)).margin(kRounding * scale));
    });
  CHECK(padded >= 14);  // eight causal ones, and most of them both ways
}

TEST_CASE("contract: steps one by one equal the whole sequence") {
  const Tensor x = Rng(1).normal({kBatch, kLength, kChannels});
  int stepping = 0;
  for_each_backbone(true, [&](const AnyBackbone& backbone) {
    if (!backbone.stepper(kBatch)) return;  // it generates by whole windows
    ++stepping;
    const Parity p = measure_parity(backbone, x, [](const Tensor& y) { return y; });
    CHECK(p.stepped <= 10 * kRounding * p.output);
    CHECK(p.resumed <= 10 * kRounding * p.output);
  });
  CHECK(stepping >= 8);
}
