// The objective "mask" trained on a text whose probability is known: the bound comes down to its
// codelength and not below, for every loss.
#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "harness/run.h"
#include "tests/diffusion/mask_chain.h"
#include "tests/harness/tiny.h"

using namespace kindred;
using namespace kindred::test;

TEST_CASE("mask: a trained model's bound and codelength are near -log p of a Markov text") {
  const Chain chain = sticky_chain();
  const auto text =
      std::make_shared<HeldSymbols>(chain_spec(3, 16, true), chain.draw(20001, Rng(12)));
  const std::vector<int> all(text->symbols.begin(), text->symbols.end());
  const double truth = chain.nats(all, 1) / (20000 * std::numbers::ln2);
  struct Form {
    const char *loss, *time, *backbone, *lr;
    double above;
  };
  for (const Form f :
       {Form{"mdlm", "false", "lstm", "0.01", 0.02}, Form{"mdlm", "true", "lstm", "0.01", 0.03},
        Form{"d3pm", "false", "lstm", "0.01", 0.03}, Form{"sedd", "false", "lstm", "0.01", 0.05},
        Form{"mdlm", "false", "attention", "0.003", 0.06},
        Form{"mdlm", "false", "s4", "0.03", 0.06}, Form{"mdlm", "true", "s4", "0.01", 0.1}}) {
    CAPTURE(f.loss, f.time, f.backbone);
    harness::Run run(tiny_settings("mask", f.backbone,
                                   {{"model.width", "32"},
                                    {"train.batch", "32"},
                                    {"train.steps", "500"},
                                    {"schedule.lr", f.lr},
                                    {"schedule.anneal", "cosine"},
                                    {"objective.loss", f.loss},
                                    {"objective.draws", "8"},
                                    {"objective.l2r", "128"},
                                    {"objective.timesteps", "100"},
                                    {"objective.time", f.time}}),
                     text);
    for (int i = 0; i < 500; ++i) run.step();
    const auto l = run.evaluate({}, run.eval_split());
    const double error = l.metric("draw_std_error");
    CHECK(l.bits_per_symbol() > truth - 4 * error);
    CHECK(l.bits_per_symbol() < truth + f.above + 4 * error);
    CHECK(l.metric("bpc_l2r") == Approx(truth).margin(f.above + 4 * l.metric("bpc_l2r_se")));
  }
}
