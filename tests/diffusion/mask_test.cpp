// The objective "mask" on a Markov chain whose conditionals are known exactly: then every order of
// appearance gives the chain rule, so that the bound in continuous time is -ln p(x) itself.
#include "diffusion/mask.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <numbers>

#include "autodiff/graph.h"
#include "autodiff/ops/cross_entropy.h"
#include "diffusion/score_entropy.h"
#include "harness/family.h"
#include "tests/diffusion/mask_chain.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::diffusion;
using namespace kindred::test;

namespace {

std::vector<int> ints(std::span<const int32_t> x) { return {x.begin(), x.end()}; }

/// Sum over the hidden symbols of -ln p(x_i | the others); bit i of `mask` hides symbol known + i.
double hidden_nats(const Chain& chain, const std::vector<int>& x, std::size_t known,
                   unsigned mask) {
  std::vector<int> shown = x;
  for (std::size_t i = known; i < x.size(); ++i)
    if (mask >> (i - known) & 1) shown[i] = -1;
  const auto p = chain.conditionals(shown);
  double sum = 0;
  for (std::size_t i = known; i < x.size(); ++i)
    if (shown[i] < 0) sum -= std::log(p[i][x[i]]);
  return sum;
}

/// The bound of T steps, over all masks: sum_i (1/i) sum_M t^k (1 - t)^(n - k) nats(M), t = i/T.
double enumerated_bound(const Chain& chain, const std::vector<int>& x, std::size_t known, int T) {
  const auto n = static_cast<unsigned>(x.size() - known);
  double bound = 0;
  for (unsigned mask = 1; mask < 1u << n; ++mask) {
    const int k = __builtin_popcount(mask);
    double weight = 0;
    for (int i = 1; i <= T; ++i) {
      const double t = static_cast<double>(i) / T;
      weight += std::pow(t, k) * std::pow(1 - t, static_cast<double>(n) - k) / i;
    }
    bound += weight * hidden_nats(chain, x, known, mask);
  }
  return bound;
}

double choose_of(int64_t n, int64_t k) {
  return std::round(
      std::exp(std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0)));
}

MaskConfig with(const std::string& loss, int64_t timesteps = 1000) {
  MaskConfig config;
  config.loss = loss;
  config.timesteps = timesteps;
  return config;
}

double total(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v;
  return sum;
}

}  // namespace

TEST_CASE("mask process: the numbers of hidden symbols are those of the integral over time") {
  const int64_t n = 6;
  const MaskProcess continuous(n, 0);
  for (int64_t k = 1; k <= n; ++k) {
    // Integral of Binomial(k; n, t)/t dt = 1/k, by the midpoint rule.
    double integral = 0;
    const int cells = 20000;
    for (int j = 0; j < cells; ++j) {
      const double t = (j + 0.5) / cells;
      integral += choose_of(n, k) * std::pow(t, k - 1) * std::pow(1 - t, n - k) / cells;
    }
    const double of_process = continuous.count_probabilities()[k - 1] * n / static_cast<double>(k);
    CHECK(of_process == Approx(integral).epsilon(1e-7));
  }
  for (const int64_t T : {1, 2, 7, 1000}) {
    const MaskProcess process(n, T);
    CHECK(total(process.count_probabilities()) == Approx(1).epsilon(1e-12));
    for (int64_t k = 1; k <= n; ++k) {
      double weight = 0;  // of a mask of k symbols, times how many there are
      for (int64_t i = 1; i <= T; ++i) {
        const double t = static_cast<double>(i) / static_cast<double>(T);
        weight +=
            choose_of(n, k) * std::pow(t, k) * std::pow(1 - t, n - k) / static_cast<double>(i);
      }
      CHECK(process.count_probabilities()[k - 1] * n / static_cast<double>(k) ==
            Approx(weight).epsilon(1e-10).margin(1e-14));
    }
  }
  // One step hides all; many steps are continuous time.
  CHECK(MaskProcess(n, 1).count_probabilities()[n - 1] == Approx(1));
  const MaskProcess fine(n, 100000);
  for (const double q : fine.count_probabilities()) CHECK(q == Approx(1.0 / n).epsilon(1e-4));
}

TEST_CASE("mask process: draws hide what they say, with the times that belong to them") {
  const int64_t n = 8, draws = 20000;
  for (const int64_t T : {0, 5}) {
    CAPTURE(T);
    const MaskProcess process(n, T);
    std::vector<double> hidden(n, 0.0);
    double mean_time = 0;
    for (int64_t j = 0; j < draws; ++j) {
      const double u = (static_cast<double>(j) + 0.5) / static_cast<double>(draws);
      const Hiding by_time = process.at_time(u, Rng(3).split(j));
      CHECK(by_time.weight * by_time.time == Approx(1));
      if (T == 0) CHECK(by_time.time == u);
      if (T > 0) CHECK(by_time.time * T == Approx(std::ceil(u * T)));
      for (int64_t i = 0; i < n; ++i) hidden[i] += by_time.hidden[i];
    }
    // Each symbol with probability t: 1/2, or the mean of 1/5 .. 5/5.
    for (const double h : hidden)
      CHECK(h / draws == Approx(T == 0 ? 0.5 : 0.6).margin(5 * 0.5 / std::sqrt(draws)));
    // The time of three hidden symbols of eight: Beta(3, 6) has mean 1/3; steps by Bayes' rule.
    double expected = 1.0 / 3;
    if (T > 0) {
      double sum = 0, moment = 0;
      for (int i = 1; i <= T; ++i) {
        const double t = static_cast<double>(i) / static_cast<double>(T);
        const double p = std::pow(t, 3) * std::pow(1 - t, 5) / i;
        sum += p;
        moment += p * t;
      }
      expected = moment / sum;
    }
    double below = 0;
    for (int64_t k = 1; k < 3; ++k) below += process.count_probabilities()[k - 1];
    const double u = below + process.count_probabilities()[2] / 2;
    std::vector<double> chosen(n, 0.0);
    for (int64_t j = 0; j < draws; ++j) {
      const Hiding three = process.of_count(u, Rng(4).split(j));
      CHECK(std::count(three.hidden.begin(), three.hidden.end(), true) == 3);
      CHECK(three.weight == Approx(8.0 / 3));
      mean_time += three.time / draws;
      for (int64_t i = 0; i < n; ++i) chosen[i] += three.hidden[i];
    }
    CHECK(mean_time == Approx(expected).margin(5 * 0.2 / std::sqrt(draws)));
    for (const double c : chosen)
      CHECK(c / draws == Approx(0.375).margin(5 * 0.5 / std::sqrt(draws)));
  }
}

TEST_CASE("mask: with exact conditionals the bound is -ln p, and that of T steps is above it") {
  const Chain chain = sticky_chain();
  const std::vector<int> x = {2, 2, 0, 0, 1, 1, 2};
  const std::size_t known = 1;
  const auto n = static_cast<int64_t>(x.size() - known);
  const double truth = chain.nats(x, known);
  // The model's own losses for every mask, weighted by count as the objective weighs them.
  const auto model = chain_model(chain_spec(3, n, true), {chain}, with("mdlm"));
  const std::vector<double> q = MaskProcess(n, 0).count_probabilities();
  double bound = 0;
  for (unsigned mask = 1; mask < 1u << n; ++mask) {
    Tensor inputs = Tensor::empty({1, n + 1}, DType::i32),
           targets = Tensor::full({1, n + 1}, -1, DType::i32);
    for (int64_t p = 0; p <= n; ++p) {
      const bool hidden = p > 0 && (mask >> (p - 1) & 1);
      inputs.mutable_data<int32_t>()[p] = hidden ? 3 : x[p];
      if (hidden) targets.mutable_data<int32_t>()[p] = x[p];
    }
    const Tensor nll = token_nll(model->logits(inputs, harness::Context()), targets);
    double sum = 0;
    for (int64_t p = 0; p <= n; ++p) sum += nll.item(p);
    const int k = __builtin_popcount(mask);
    bound += q[k - 1] * static_cast<double>(n) / k / choose_of(n, k) * sum;
    CHECK(sum == Approx(hidden_nats(chain, x, known, mask)).epsilon(1e-5));
  }
  CHECK(bound == Approx(truth).epsilon(1e-5));

  // Over all sequences, T steps cost more than the entropy, the fewer the more; one step hides all,
  // so that every symbol is coded from the context alone.
  const auto mean_bound = [&](int T) {
    double sum = 0;
    for (int code = 0; code < 81; ++code) {
      const std::vector<int> y = {2, code % 3, code / 3 % 3, code / 9 % 3, code / 27};
      sum += std::exp(-chain.nats(y, 1)) *
             (T > 0 ? enumerated_bound(chain, y, 1, T) : chain.nats(y, 1));
    }
    return sum;
  };
  const double entropy = mean_bound(0);
  double before = 1e9;
  for (const int T : {1, 2, 4, 8, 64, 512}) {
    const double now = mean_bound(T);
    CHECK(now < before);
    CHECK(now > entropy);
    before = now;
  }
  CHECK(before == Approx(entropy).epsilon(2e-3));
  CHECK(enumerated_bound(chain, x, known, 1) ==
        Approx(hidden_nats(chain, x, known, (1u << n) - 1)));
}

TEST_CASE("mask: both forms of the bound estimate the same number, with the error they state") {
  const Chain chain = sticky_chain();
  const std::vector<int32_t> x = {0, 0, 1, 2, 2, 1, 1};
  const MaskObjective::Stretch stretch{x.data(), 7, 1};
  harness::LikelihoodOptions options;
  struct Form {
    const char *loss, *bound;
    int T;
  };
  for (const Form f : {Form{"mdlm", "sum", 0}, Form{"mdlm", "time", 0}, Form{"d3pm", "sum", 3},
                       Form{"d3pm", "time", 3}, Form{"sedd", "sum", 0}}) {
    CAPTURE(f.loss, f.bound);
    MaskConfig config = with(f.loss, std::max(f.T, 1));
    config.bound = f.bound;
    config.draws = 3000;
    // Scores of the right ratio: e^z / V adds up to 1 when every output is shifted by ln V.
    const ChainBackbone backbone{chain, std::string(f.loss) == "sedd" ? std::log(3.0) : 0.0};
    const auto model = chain_model(chain_spec(3, 6, true), backbone, config);
    const auto scores = model->bound(std::span(&stretch, 1), Rng(5), options);
    REQUIRE(scores.nats.size() == 6);
    const double truth =
        f.T > 0 ? enumerated_bound(chain, ints(x), 1, f.T) : chain.nats(ints(x), 1);
    const double error = std::sqrt(scores.draw_variance);
    CHECK(error > 0);
    CHECK(error < 0.2);
    CHECK(std::abs(total(scores.nats) - truth) < 4 * error);
  }
}

TEST_CASE("mask: independent uniform symbols cost ln V each in every draw") {
  const Chain fair{{0.25, 0.25, 0.25, 0.25},
                   std::vector<std::vector<double>>(4, std::vector<double>(4, 0.25))};
  const std::vector<int32_t> x = fair.draw(64, Rng(2));
  for (const char* loss : {"mdlm", "d3pm"}) {
    MaskConfig config = with(loss, 7);
    config.draws = 1;
    const auto model = chain_model(chain_spec(4, 16, false), {fair}, config);
    const HeldSymbols images(chain_spec(4, 16, false), x);
    const auto l = model->likelihood(images, data::Split::test, Rng(1), {});
    REQUIRE(l.bits.size() == 4);
    for (const double b : l.bits) CHECK(b == Approx(32).epsilon(1e-6));  // 2 bits a symbol
    CHECK(l.metric("bpd_l2r") == Approx(2).epsilon(1e-6));
    CHECK(std::isnan(l.metric("draw_std_error")));  // one draw tells nothing
    // The training loss is the same number.
    CHECK(model->loss(images.elements(data::Split::test, 0, 4), Rng(3), true).item() ==
          Approx(std::log(4.0)).epsilon(1e-6));
  }
}

TEST_CASE("mask: text is scored in the windows and blocks of ar") {
  const Chain chain = sticky_chain();
  const data::DataSpec spec = chain_spec(3, 8, true);
  const HeldSymbols text(spec, chain.draw(203, Rng(8)));  // 202 targets: the last window has 2
  MaskConfig config = with("mdlm");
  config.draws = 50;
  config.l2r = 1000;
  const auto model = chain_model(spec, {chain}, config);
  harness::Settings settings;
  for (const char* pair : {"model.layers=1", "model.width=8", "model.heads=2"})
    settings.set_assignment(pair);
  const auto ar = harness::make_family({"ar", "attention"}, spec, settings, Rng(1));
  for (const char* lane : {"reset", "stride:3"})
    for (const int64_t limit : {0, 5, 100}) {
      CAPTURE(lane, limit);
      harness::LikelihoodOptions options;
      options.lane = lane;
      options.limit = limit;
      options.batch = 7;
      int64_t reported = 0;
      options.progress = [&](int64_t done, int64_t all) {
        CHECK(done <= all);
        reported = done;
      };
      const auto mine = model->likelihood(text, data::Split::validation, Rng(1), options);
      CHECK(mine.symbols == ar->likelihood(text, data::Split::validation, Rng(1), options).symbols);
      CHECK(mine.kind == harness::Kind::bound);
      CHECK_THAT(mine.note, has("bound") && has("50 draws") && has(lane));
      const int64_t targets = limit > 0 ? limit : 202;
      CHECK(reported == targets);
      // A chain's symbols depend on the one before: windows lose nothing, each target costs what it
      // is.
      const std::vector<int> x(text.symbols.begin(), text.symbols.begin() + targets + 1);
      const double truth = chain.nats(x, 1) / (static_cast<double>(targets) * std::numbers::ln2);
      CHECK(std::abs(mine.bits_per_symbol() - truth) < 4 * mine.metric("draw_std_error"));
      CHECK(mine.metric("draw_std_error") < 0.1);
      // Left to right, one symbol after another, is the chain rule.
      CHECK(mine.metric("bpc_l2r") == Approx(truth).epsilon(1e-5));
    }
  // The same numbers whatever the batch.
  harness::LikelihoodOptions one, many;
  one.batch = 1;
  many.batch = 64;
  CHECK(model->likelihood(text, data::Split::validation, Rng(1), one).bits ==
        model->likelihood(text, data::Split::validation, Rng(1), many).bits);
}

TEST_CASE("mask: the codelength takes windows from everywhere, and no longer than the bound") {
  const Chain chain = sticky_chain();
  const data::DataSpec spec = chain_spec(3, 8, true);
  const HeldSymbols text(spec, chain.draw(801, Rng(8)));
  const auto passes = [&](int64_t draws, int64_t l2r) {
    MaskConfig config = with("mdlm");
    config.draws = draws;
    config.l2r = l2r;
    const auto times = std::make_shared<std::vector<double>>();
    const auto model = chain_model(spec, {chain, 0, times}, config);
    const auto l = model->likelihood(text, data::Split::validation, Rng(1), {});
    CHECK(std::isnan(l.metric("bpc_l2r")) == (l2r == 0));
    return static_cast<int64_t>(times->size()) - draws * 100;
  };
  CHECK(passes(2, 0) == 0);
  CHECK(passes(2, 5) == 5 * 8);
  CHECK(passes(1, 100) == 12 * 8);  // 100 passes of the bound allow 12 windows
}

TEST_CASE("mask: SEDD's score entropy is MDLM's bound for normalised scores, and above it else") {
  // The integrand at time t as it is published: sigma' [sum_y s_y - omega ln s_x + omega (ln omega
  // - 1)] with sigma = -ln(1 - t), omega = 1/(e^sigma - 1), s_y = omega e^{z_y} / V.
  const int64_t V = 5;
  // What is not asked has no part in the loss, however far its logits have gone.
  const Tensor far = score_entropy_excess(Tensor::full({2, 3}, 1e4), Tensor::from<float>({0, 0}));
  CHECK(far.item(0) == 0);
  CHECK(far.item(1) == 0);
  for (const double t : {0.03, 0.4, 0.97})
    for (const bool normalised : {true, false}) {
      const Tensor z0 = Rng(3).normal({1, V}, DType::f64);
      double log_sum = 0;
      for (int64_t v = 0; v < V; ++v) log_sum += std::exp(z0.item(v));
      log_sum = std::log(log_sum);
      Tensor z = z0.clone();
      for (int64_t v = 0; v < V && normalised; ++v)
        z.mutable_data<double>()[v] += std::log(static_cast<double>(V)) - log_sum;
      const double sigma = -std::log1p(-t), slope = 1 / (1 - t), omega = 1 / std::expm1(sigma);
      const Tensor excess = score_entropy_excess(z, Tensor::full({1}, 1, DType::f64));
      for (int32_t x = 0; x < V; ++x) {
        double sum = 0;
        for (int64_t v = 0; v < V; ++v) sum += omega * std::exp(z.item(v)) / V;
        const double score = omega * std::exp(z.item(x)) / V;
        const double published =
            slope * (sum - omega * std::log(score) + omega * (std::log(omega) - 1));
        const double nll = token_nll(z, Tensor::from<int32_t>({x})).item(0);
        CHECK((nll + excess.item(0)) / t == Approx(published).epsilon(1e-10));
        if (normalised) CHECK(published == Approx(nll / t).epsilon(1e-10));
        if (!normalised) CHECK(published > nll / t + 1e-3);
      }
    }
}

TEST_CASE("mask: the training loss is the bound on average, for every loss and masking") {
  const Chain chain = sticky_chain();
  const std::vector<int32_t> x = {1, 1, 0, 2, 0, 0, 1, 2, 2, 2};
  data::Batch batch;
  batch.symbols = Tensor::from(std::span<const int32_t>(x), {2, 5});
  const std::vector<int> first = {1, 1, 0, 2, 0}, second = {0, 1, 2, 2, 2};
  for (const char* loss : {"mdlm", "d3pm", "sedd"})
    for (const char* masking : {"count", "time"}) {
      CAPTURE(loss, masking);
      MaskConfig config = with(loss, 4);
      config.masking = masking;
      const bool sedd = std::string(loss) == "sedd";
      const auto model =
          chain_model(chain_spec(3, 4, true), {chain, sedd ? std::log(3.0) : 0.0}, config);
      const bool steps = std::string(loss) == "d3pm";
      const double truth =
          (steps ? enumerated_bound(chain, first, 1, 4) + enumerated_bound(chain, second, 1, 4)
                 : chain.nats(first, 1) + chain.nats(second, 1)) /
          8;
      double sum = 0, squares = 0;
      const int draws = 4000;
      for (int j = 0; j < draws; ++j) {
        const double value = model->loss(batch, Rng(6).split(j), false).item();
        sum += value;
        squares += value * value;
      }
      const double mean = sum / draws;
      const double error = std::sqrt((squares / draws - mean * mean) / draws);
      CHECK(std::abs(mean - truth) < 4 * error);
      CHECK(error < 0.05);
    }
  // The auxiliary term counts hidden symbols without 1/t.
  MaskConfig plain = with("mdlm"), more = plain;
  more.auxiliary = 0.5;
  const Chain fair{{0.5, 0.5}, {{0.5, 0.5}, {0.5, 0.5}}};
  data::Batch bits;
  bits.symbols = Tensor::from<int32_t>({0, 1, 1, 0, 1}, {1, 5});
  const auto value = [&](const MaskConfig& c) {
    return chain_model(chain_spec(2, 4, true), {fair}, c)->loss(bits, Rng(1), false).item();
  };
  const double hidden = (value(more) - value(plain)) / (0.5 * std::log(2.0) / 4);
  CHECK(hidden == Approx(std::round(hidden)).margin(1e-4));
  CHECK(hidden > 0.5);
  CHECK(hidden < 4.5);
}

TEST_CASE("mask: a network that is told the time is told one that fits what is hidden") {
  const Chain chain = sticky_chain();
  const data::DataSpec spec = chain_spec(3, 8, true);
  const HeldSymbols text(spec, chain.draw(1601, Rng(8)));
  for (const char* form : {"sum", "time"}) {
    CAPTURE(form);
    MaskConfig config = with("mdlm");
    config.bound = form;
    config.l2r = 0;
    const auto times = std::make_shared<std::vector<double>>();
    const auto model = chain_model(spec, {chain, 0, times}, config);
    model->likelihood(text, data::Split::validation, Rng(1), {});
    // Both ways t is uniform on (0, 1).
    double mean = 0, squares = 0;
    for (const double t : *times) {
      CHECK(t > 0);
      CHECK(t <= 1);
      mean += t / static_cast<double>(times->size());
      squares += t * t / static_cast<double>(times->size());
    }
    CHECK(times->size() == 400);
    CHECK(mean == Approx(0.5).margin(5 * 0.29 / 20));
    CHECK(squares == Approx(1.0 / 3).margin(5 * 0.3 / 20));
  }
}

TEST_CASE("mask: what it cannot do is a usage error that says so") {
  const auto build = [](const data::DataSpec& spec, const std::vector<std::string>& settings,
                        const std::string& backbone = "attention") {
    return message_of(Fault::usage, [&] {
      harness::Settings s;
      for (const char* pair : {"model.layers=1", "model.width=8", "model.heads=2"})
        s.set_assignment(pair);
      for (const std::string& pair : settings) s.set_assignment(pair);
      harness::make_family({"mask", backbone}, spec, s, Rng(1));
    });
  };
  const data::DataSpec text = chain_spec(3, 8, true);
  data::DataSpec real = chain_spec(0, 2, false);
  real.modality = data::Modality::points;
  CHECK_THAT(build(real, {}), has("real values") && has("quantise") && has("gaussian"));
  data::DataSpec labels = chain_spec(3, 8, true);
  labels.modality = data::Modality::sequence;
  CHECK_THAT(build(labels, {}), has("sequences with targets") && has("classify"));
  CHECK_THAT(build(text, {}, "unet"), has("needs images"));
  CHECK_THAT(build(text, {"objective.loss=ddpm"}), has("mdlm, d3pm, sedd"));
  CHECK_THAT(build(text, {"objective.loss=d3pm", "objective.timesteps=0"}),
             has("objective.timesteps"));
  CHECK_THAT(build(text, {"objective.masking=all"}), has("count, time"));
  CHECK_THAT(build(text, {"objective.bound=exact"}), has("sum, time"));
  CHECK_THAT(build(text, {"objective.sampler=heun"}),
             has("ancestral, random_order, left_to_right"));
  CHECK_THAT(build(text, {"objective.steps=0"}), has("objective.steps"));
  CHECK_THAT(build(text, {"objective.draws=0"}), has("objective.draws"));
  CHECK_THAT(build(text, {"objective.l2r=-1"}), has("objective.l2r"));
  CHECK_THAT(build(text, {"objective.auxiliary=-0.1"}), has("objective.auxiliary"));
  CHECK_THAT(build(text, {"objective.tie=io", "objective.head=identity", "model.width=8"}),
             has("identity"));

  const auto model = chain_model(text, {sticky_chain()}, with("mdlm"));
  const HeldSymbols held(text, sticky_chain().draw(50, Rng(1)));
  harness::LikelihoodOptions options;
  options.lane = "both";
  CHECK_THAT(message_of(Fault::usage,
                        [&] { model->likelihood(held, data::Split::test, Rng(1), options); }),
             has("reset or stride:S"));
  CHECK_THAT(message_of(Fault::usage, [&] { model->check_parts(2); }),
             has("ar can train in chunks"));
  data::Batch wrong;
  wrong.symbols = Tensor::zeros({2, 8}, DType::i32);
  CHECK_THAT(message_of(Fault::usage, [&] { model->loss(wrong, Rng(1), true); }), has("[B, 9]"));
}
