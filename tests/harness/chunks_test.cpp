// Training in chunks: truncated back-propagation with the state passed on. Also the rate of an
// evaluation.
#include <catch2/catch.hpp>
#include <cmath>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "autodiff/pool.h"
#include "harness/run.h"
#include "harness/snapshot.h"
#include "tests/harness/tiny.h"
#include "tests/support/errors.h"

using namespace kindred;
using namespace kindred::harness;
using namespace kindred::test;

namespace {

Run make_run(const std::string& backbone, const std::string& data, const Pairs& more = {}) {
  return Run(tiny_settings("ar", backbone, more), tiny_data(data));
}

const std::vector<std::string>& carrying() {
  static const std::vector<std::string> names{"s4", "s4d", "lssl", "s5", "mamba", "lstm", "gru"};
  return names;
}

/// Largest difference of two lists of gradients over the largest value.
double error(const std::vector<Tensor>& a, const std::vector<Tensor>& b) {
  double difference = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (int64_t k = 0; k < a[i].numel(); ++k) {
      difference = std::max(difference, std::abs(a[i].item(k) - b[i].item(k)));
      largest = std::max(largest, std::abs(b[i].item(k)));
    }
  return difference / largest;
}

}  // namespace

TEST_CASE("chunks: shares of the loss add up, and with the state's gradients they are the loss") {
  for (const std::string& backbone : carrying())
    for (const char* data : {"text", "images"})
      for (const int64_t parts : {2, 5}) {
        INFO(backbone << " on " << data << ", " << parts << " chunks");
        Run run = make_run(backbone, data, {{"model.layers", "2"}, {"model.dropout", "0"}});
        for (int i = 0; i < 3; ++i) run.step();
        const data::Batch batch = run.dataset().batch(data::Split::train, Rng(7), 0, 6);
        const std::vector<Tensor>& xs = run.slab().parameters();
        const Tensor whole = run.objective().loss(batch, Rng(8), true);
        State state, detached;
        Tensor connected, truncated;
        for (int64_t part = 0; part < parts; ++part) {
          const Tensor a = run.objective().loss_part(batch, Rng(8), part, parts, state);
          const Tensor b = run.objective().loss_part(batch, Rng(8), part, parts, detached);
          for (Tensor& s : detached) s = s.detach();
          connected = connected.defined() ? add(connected, a) : a;
          truncated = truncated.defined() ? add(truncated, b) : b;
        }
        CHECK(connected.item() == Approx(whole.item()).epsilon(1e-5));
        CHECK(truncated.item() == Approx(whole.item()).epsilon(1e-5));
        const std::vector<Tensor> full = grad(whole, xs), cut = grad(truncated, xs);
        CHECK(error(grad(connected, xs), full) <= 1e-4);
        CHECK(error(cut, full) > 1e-4);  // truncation is not nothing

        // A step of training has the truncated gradient. SGD writes it into the parameters.
        Run chunked = make_run(backbone, data,
                               {{"model.layers", "2"},
                                {"model.dropout", "0"},
                                {"train.chunks", std::to_string(parts)}});
        Run explicitly = make_run(backbone, data,
                                  {{"model.layers", "2"},
                                   {"model.dropout", "0"},
                                   {"train.chunks", std::to_string(parts)}});  // s4's kernel length
        const data::Batch first =
            explicitly.dataset().batch(data::Split::train, Rng(0).split("data"), 0, 8);
        Tensor total;
        State carried;
        for (int64_t part = 0; part < parts; ++part) {
          const Tensor share = explicitly.objective().loss_part(
              first, Rng(0).split("loss").split(uint64_t{0}), part, parts, carried);
          for (Tensor& s : carried) s = s.detach();
          total = total.defined() ? add(total, share) : share;
        }
        const std::vector<Tensor> expected = grad(total, explicitly.slab().parameters());
        CHECK(chunked.step() == Approx(total.item()).epsilon(1e-6));
        CHECK(chunked.gradient_norm() == Approx(explicitly.slab().norm(expected)).epsilon(1e-4));
      }
}

TEST_CASE("chunks: one chunk is plain training, and a run in chunks goes on from its snapshot") {
  for (const std::string& backbone : carrying()) {
    INFO(backbone);
    Run plain = make_run(backbone, "text"),
        one = make_run(backbone, "text", {{"train.chunks", "1"}});
    for (int i = 0; i < 3; ++i) CHECK(one.step() == plain.step());
    CHECK(parameter_digest(one.capture()) == parameter_digest(plain.capture()));
    const Pairs four = {{"train.chunks", "4"}, {"train.ema", "0.9"}};
    Run whole = make_run(backbone, "text", four), first = make_run(backbone, "text", four),
        second = make_run(backbone, "text", four);
    for (int i = 0; i < 4; ++i) whole.step();
    for (int i = 0; i < 2; ++i) first.step();
    second.restore(decode_snapshot(encode_snapshot(first.capture()), "memory"));
    for (int i = 0; i < 2; ++i) second.step();
    CHECK(training_digest(second.capture()) == training_digest(whole.capture()));
    Pairs recomputed = four;
    recomputed.push_back({"train.recompute", "blocks"});
    Run again = make_run(backbone, "text", recomputed);
    for (int i = 0; i < 4; ++i) again.step();
    CHECK(training_digest(again.capture()) == training_digest(whole.capture()));
  }
}

TEST_CASE("chunks: less memory, none from the system when repeated, and the loss falls") {
  for (const std::string& backbone : carrying()) {
    INFO(backbone);
    const auto peak = [&](const char* chunks) {
      Run run = make_run(backbone, "images",
                         {{"train.chunks", chunks},
                          {"train.batch", "64"},
                          {"model.layers", "3"},
                          {"schedule.lr", "0.01"}});
      const uint64_t before = pool::stats().bytes_in_use;
      const int64_t nodes = live_nodes();
      const double first = run.step();
      run.step();
      pool::reset_peak();
      pool::freeze();
      double last = 0;
      for (int i = 0; i < 10; ++i) last = run.step();
      CHECK(pool::stats().allocations_when_frozen == 0);
      CHECK(live_nodes() == nodes);
      CHECK(last < first);
      return static_cast<double>(pool::stats().peak_bytes_in_use - before);
    };
    const double whole = peak("1"), quarter = peak("4");
    CHECK(quarter < 0.5 * whole);
  }
}

TEST_CASE("chunks: what cannot be cut says so") {
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          make_run("attention", "text", {{"train.chunks", "2"}}).step();
                        }),
             Catch::Contains("attention") && Catch::Contains("s4"));
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          make_run("s4d", "text", {{"train.chunks", "17"}}).step();
                        }),
             Catch::Contains("17 chunks of 16"));
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          make_run("s4d", "text", {{"train.chunks", "0"}}).step();
                        }),
             Catch::Contains("train.chunks"));
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          Run(tiny_settings("gaussian", "s4d", {{"train.chunks", "2"}}),
                              tiny_data("images"))
                              .step();
                        }),
             Catch::Contains("train.chunks") && Catch::Contains("ar"));
}

TEST_CASE("rate of an evaluation: the same model at another step of time") {
  LikelihoodOptions options;
  options.limit = 64;
  const auto score = [&](const std::string& backbone, const char* rate) {
    Run run = make_run(backbone, "text", {{"eval.rate", rate}});
    for (int i = 0; i < 5; ++i) run.step();
    return run.evaluate(options, data::Split::validation);
  };
  for (const char* backbone : {"s4", "s4d"}) {
    const Likelihood one = score(backbone, "1"), two = score(backbone, "2");
    CHECK(std::isfinite(two.bits_per_symbol()));
    CHECK(one.bits_per_symbol() != two.bits_per_symbol());
    CHECK(two.note.find("rate 2") != std::string::npos);
  }
  CHECK_THAT(message_of(Fault::usage, [&] { score("attention", "2"); }),
             Catch::Contains("rate") && Catch::Contains("s4"));
  CHECK_THAT(message_of(Fault::usage, [&] { score("s4d", "-1"); }), Catch::Contains("rate"));
}
