// Whole sequences against single steps: a backbone whose steps are wrong by a known amount, every
// kind of layer after some training, and what has no steps.
#include "harness/parity.h"

#include <catch2/catch.hpp>
#include <limits>

#include "autodiff/ops/elementwise.h"
#include "harness/run.h"
#include "tests/harness/tiny.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;
using Catch::Matchers::Contains;

namespace {

/// y = 2 x; a single step adds `wrong` times its position, several at once are exact.
struct Doubling {
  double wrong = 0;
  bool steps = true;
  Tensor forward(const Tensor& x, const Context&) const { return scale(x, 2); }
  std::unique_ptr<Stepper> stepper(int64_t) const {
    struct Steps final : Stepper {
      double wrong;
      int64_t at = 0;
      explicit Steps(double error) : wrong(error) {}
      Tensor prefill(const Tensor& x) override {
        const double error = x.dim(1) == 1 ? wrong * static_cast<double>(at) : 0;
        at += x.dim(1);
        return affine(x, 2, error);
      }
      int64_t position() const override { return at; }
    };
    if (!steps) return nullptr;
    return std::make_unique<Steps>(wrong);
  }
  template <class Self, class V>
  static void describe(Self&, V&) {}
};

Tensor same(const Tensor& x) { return x; }

Run trained(const std::string& objective, const std::string& backbone, const std::string& data) {
  Run run(tiny_settings(
              objective, backbone,
              objective == "ar"
                  ? std::vector<std::pair<std::string, std::string>>{}
                  : std::vector<std::pair<std::string, std::string>>{{"objective.causal", "true"}}),
          tiny_data(data));
  for (int i = 0; i < 5; ++i) run.step();
  return run;
}

Parity measured(Run& run) {
  if (run.spec().modality == data::Modality::text)
    return run.parity(run.dataset().batch(run.eval_split(), Rng(0), 0, 2));
  return run.parity(run.dataset().elements(run.eval_split(), 0, 2));
}

}  // namespace

TEST_CASE("parity: planted differences are found", "[parity]") {
  const Tensor x = Rng(1).normal({2, 7, 3});
  const Parity exact = measure_parity(AnyBackbone(Doubling{}), x, same);
  CHECK(exact.sequences == 2);
  CHECK(exact.steps == 7);
  CHECK(exact.worst() == 0);
  double most = 0;
  for (int64_t i = 0; i < x.numel(); ++i) most = std::max(most, std::abs(2 * x.item(i)));
  CHECK(exact.output == Approx(most));

  const Parity wrong = measure_parity(AnyBackbone(Doubling{0.5}), x, same);
  CHECK(wrong.stepped == Approx(0.5 * 6));
  CHECK(wrong.resumed == Approx(0.5 * 6));
  CHECK(wrong.worst() == Approx(3));
  // One step: nothing comes before it.
  CHECK(measure_parity(AnyBackbone(Doubling{0.5}), Rng(1).normal({1, 1, 3}), same).worst() == 0);
  // The head is part of what is compared.
  const Parity halved =
      measure_parity(AnyBackbone(Doubling{0.5}), x, [](const Tensor& h) { return scale(h, 0.5); });
  CHECK(halved.stepped == Approx(1.5));
}

TEST_CASE("parity: what cannot be compared is refused", "[parity]") {
  const Tensor x = Rng(1).normal({1, 4, 3});
  CHECK_THROWS_WITH(measure_parity(AnyBackbone(Doubling{0, false}), x, same),
                    Contains("no single steps"));
  const double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_WITH(measure_parity(AnyBackbone(Doubling{nan}), x, same), Contains("single steps"));
  CHECK_THROWS_WITH(measure_parity(AnyBackbone(Doubling{}), affine(x, 1, nan), same),
                    Contains("whole sequence"));
}

TEST_CASE("parity: every backbone with steps, after training", "[parity]") {
  for (const char* backbone : {"attention", "s4", "s4d", "lssl", "s5", "mamba", "lstm", "gru"}) {
    INFO(backbone);
    for (const char* data : {"text", "images"}) {
      INFO(data);
      Run run = trained("ar", backbone, data);
      const Parity found = measured(run);
      CHECK(found.output > 0);
      CHECK(found.worst() < 1e-4);
    }
    for (const auto& [objective, data] :
         {std::pair("classify", "labels"), std::pair("forecast", "real targets")}) {
      INFO(objective);
      Run run = trained(objective, backbone, data);
      CHECK(measured(run).worst() < 1e-4);
    }
  }
}
