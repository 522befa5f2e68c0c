// The autoregressive objective on the attention backbone: parameter identities, initial loss,
// likelihood lanes against window-by-window scoring, sampling against forward passes.
#include "harness/ar.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>

#include "autodiff/graph.h"
#include "autodiff/parallel.h"
#include "harness/config.h"
#include "harness/family.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::harness;

namespace {

data::DataSpec text_spec(int64_t V, int64_t T) {
  data::DataSpec spec;
  spec.name = "text";
  spec.levels = V;
  spec.length = T;
  return spec;
}

data::DataSpec image_spec(int64_t V, int64_t height, int64_t width) {
  data::DataSpec spec;
  spec.name = "image";
  spec.modality = data::Modality::image;
  spec.levels = V;
  spec.height = height;
  spec.width = width;
  spec.length = height * width;
  return spec;
}

using Keys = std::map<std::string, std::string>;

std::unique_ptr<Ar> make_ar(const data::DataSpec& spec, const Keys& keys,
                            const std::string& backbone = "attention", uint64_t seed = 1) {
  Settings settings;
  for (const auto& [key, value] : keys) settings.set(key, value, "test");
  auto model = make_family({"ar", backbone}, spec, settings, Rng(seed));
  settings.finish();
  return std::unique_ptr<Ar>(dynamic_cast<Ar*>(model.release()));
}

const Keys kTiny = {{"model.layers", "2"}, {"model.heads", "2"}, {"model.width", "16"}};

int64_t count(Ar& model) {
  int64_t n = 0;
  for (const auto& p : model.parameters()) n += p.parameter->value.numel();
  return n;
}

/// Larger parameters than at initialisation, so that predictions are far from uniform.
void excite(Ar& model) {
  uint64_t n = 0;
  for (const auto& p : model.parameters())
    if (p.parameter->value.rank() == 2) {
      p.parameter->value = Rng(11).split(n++).normal(p.parameter->value.shape());
      float* w = p.parameter->value.mutable_data<float>();
      for (int64_t i = 0; i < p.parameter->value.numel(); ++i) w[i] *= 0.3f;
    }
}

std::vector<int32_t> random_stream(int64_t n, int64_t V) {
  std::vector<int32_t> stream(n);
  for (int64_t i = 0; i < n; ++i) stream[i] = static_cast<int32_t>(Rng(21).below(V, i));
  return stream;
}

/// -ln p(symbols[at] | the inputs before it), from one forward pass over `inputs`.
double nll_after(const Ar& model, std::span<const int32_t> inputs, int32_t target) {
  const NoGrad no_grad;
  const auto n = static_cast<int64_t>(inputs.size());
  const Tensor z = model.logits(Tensor::from(inputs, {1, n}), Context());
  const int64_t V = z.dim(2), row = (z.dim(1) - 1) * V;
  double top = -HUGE_VAL, sum = 0;
  for (int64_t v = 0; v < V; ++v) top = std::max(top, z.item(row + v));
  for (int64_t v = 0; v < V; ++v) sum += std::exp(z.item(row + v) - top);
  return top + std::log(sum) - z.item(row + target);
}

/// A few images held in memory.
struct MemoryImages final : data::Dataset {
  data::DataSpec about;
  std::vector<int32_t> pixels;
  const data::DataSpec& spec() const override { return about; }
  int64_t size(data::Split) const override {
    return static_cast<int64_t>(pixels.size()) / about.length;
  }
  data::Batch elements(data::Split, int64_t first, int64_t count) const override {
    data::Batch batch;
    batch.symbols = Tensor::from(
        std::span<const int32_t>(pixels).subspan(first * about.length, count * about.length),
        {count, about.length});
    return batch;
  }
  data::Batch batch(data::Split split, const Rng&, int64_t, int64_t count) const override {
    return elements(split, 0, count);
  }
};

/// The attention backbone with its stepper hidden.
struct Hidden {
  std::shared_ptr<AnyBackbone> inner;
  Tensor forward(const Tensor& x, const Context& c) const { return inner->forward(x, c); }
  std::unique_ptr<Stepper> stepper(int64_t) const { return nullptr; }
  template <class Self, class V>
  static void describe(Self&, V&) {}
};

}  // namespace

TEST_CASE("ar: parameter counts of the published models") {
  auto nanogpt = make_ar(text_spec(65, 64), {{"model.preset", "nanogpt"},
                                             {"model.layers", "4"},
                                             {"model.heads", "4"},
                                             {"model.width", "128"}});
  CHECK(count(*nanogpt) == 804096);
  CHECK(nanogpt->aliases() ==
        std::vector<std::pair<std::string, std::string>>{{"head.weight", "embedding.table"}});

  auto gpt2 = make_ar(text_spec(50257, 1024), {{"model.preset", "gpt2"}});
  CHECK(count(*gpt2) == 124439808);
  gpt2.reset();
  // Without biases, from one of the twelve equal blocks.
  auto shallow = make_ar(text_spec(50257, 1024), {{"model.preset", "gpt2"},
                                                  {"model.bias", "false"},
                                                  {"model.norm", "ln_nobias"},
                                                  {"model.layers", "1"}});
  int64_t block = 0;
  for (const auto& p : shallow->parameters())
    if (p.path.starts_with("backbone.blocks.0.")) block += p.parameter->value.numel();
  CHECK(count(*shallow) + 11 * block == 124337664);
}

TEST_CASE("ar: the head is tied, its own, or the backbone itself") {
  const data::DataSpec spec = text_spec(10, 8);
  Keys keys = kTiny;
  auto tied = make_ar(spec, keys);
  keys["objective.tie"] = "none";
  auto untied = make_ar(spec, keys);
  CHECK(count(*untied) == count(*tied) + 10 * 16);
  CHECK(untied->aliases().empty());
  auto llama = make_ar(spec, {{"model.preset", "llama"}, {"model.width", "32"}});
  CHECK(llama->aliases().empty());

  auto bigram = make_ar(spec, {{"model.preset", "bigram"}});
  REQUIRE(bigram->parameters().size() == 1);
  CHECK(count(*bigram) == 100);
  // Logits are rows of the table.
  const Tensor z = bigram->logits(Tensor::from<int32_t>({3, 7}, {1, 2}), Context());
  const Tensor table = bigram->parameters()[0].parameter->value;
  for (int64_t v = 0; v < 10; ++v) {
    CHECK(z.item(v) == table.item(3 * 10 + v));
    CHECK(z.item(10 + v) == table.item(7 * 10 + v));
  }
  CHECK_THROWS_WITH(make_ar(spec, {{"model.preset", "bigram"}, {"model.width", "12"}}),
                    Catch::Contains("identity needs model.width = 10"));
  CHECK_THROWS_WITH(make_ar(spec, {{"objective.tie", "all"}}), Catch::Contains("objective.tie"));
  data::DataSpec real = image_spec(0, 1, 2);
  CHECK_THROWS_WITH(make_ar(real, kTiny), Catch::Contains("quantise"));
}

TEST_CASE("ar: the initial loss is ln V + 0.0002 C within 0.06") {
  const NoGrad no_grad;
  for (const int64_t width : {64, 128, 256, 384}) {
    auto model = make_ar(text_spec(65, 64),
                         {{"model.preset", "nanogpt"}, {"model.width", std::to_string(width)}});
    data::Batch batch;
    const std::vector<int32_t> stream = random_stream(8 * 65, 65);
    batch.symbols = Tensor::from(std::span<const int32_t>(stream), {8, 65});
    const double expected = model->expected_initial_loss();
    CHECK(expected == Approx(std::log(65) + 0.0002 * static_cast<double>(width)).epsilon(1e-12));
    const double measured = model->loss(batch, Rng(2), false).item();
    INFO("width " << width << " measured " << measured);
    CHECK(std::abs(measured - expected) < 0.06);
  }
}

TEST_CASE("ar: training makes the loss fall; dropout acts in training only") {
  Keys keys = kTiny;
  keys["model.p_resid"] = "0.1";
  auto model = make_ar(text_spec(5, 8), keys);
  std::vector<int32_t> pattern(4 * 9);
  for (std::size_t i = 0; i < pattern.size(); ++i) pattern[i] = static_cast<int32_t>(i % 5);
  data::Batch batch;
  batch.symbols = Tensor::from(std::span<const int32_t>(pattern), {4, 9});
  const double still = model->loss(batch, Rng(1), false).item();
  CHECK(model->loss(batch, Rng(2), false).item() == still);
  CHECK(model->loss(batch, Rng(1), true).item() != model->loss(batch, Rng(2), true).item());
  CHECK(model->loss(batch, Rng(1), true).item() == model->loss(batch, Rng(1), true).item());
  for (int step = 0; step < 30; ++step) {
    std::vector<Tensor> values;
    for (const auto& p : model->parameters()) values.push_back(p.parameter->value);
    const auto gradients = grad(model->loss(batch, Rng(3).split(step), true), values);
    for (std::size_t i = 0; i < values.size(); ++i)
      for (int64_t k = 0; k < values[i].numel(); ++k)
        values[i].mutable_data<float>()[k] -= 0.3f * gradients[i].data<float>()[k];
  }
  CHECK(model->loss(batch, Rng(1), false).item() < still - 0.5);
  batch.symbols = Tensor::zeros({4, 8}, DType::i32);
  CHECK_THROWS_WITH(model->loss(batch, Rng(1), false), Catch::Contains("[B, 9], got [4, 8]"));
}

TEST_CASE("ar: the loss's derivatives in f64, for tied and own heads, text and images") {
  for (const char* tie : {"io", "none"})
    for (const bool text : {true, false}) {
      Keys keys = {{"model.layers", "1"}, {"model.heads", "2"}, {"model.width", "8"}};
      keys["objective.tie"] = tie;
      auto model = make_ar(text ? text_spec(5, 4) : image_spec(5, 2, 2), keys);
      excite(*model);
      data::Batch batch;
      const auto symbols = random_stream(text ? 15 : 12, 5);
      batch.symbols = Tensor::from(std::span<const int32_t>(symbols), {3, text ? 5 : 4});
      std::vector<Tensor> values;
      for (const auto& p : model->parameters()) values.push_back(p.parameter->value.to(DType::f64));
      test::check_gradients(
          [&](std::span<const Tensor> xs) {
            std::size_t i = 0;
            for (const auto& p : model->parameters()) p.parameter->value = xs[i++];
            return model->loss(batch, Rng(1), false);
          },
          values, Rng(4));
    }
}

TEST_CASE("ar: loss and gradients are the same bits with one thread and with two") {
  auto model = make_ar(text_spec(65, 64), {{"model.width", "64"}});
  const auto stream = random_stream(6 * 65, 65);
  data::Batch batch;
  batch.symbols = Tensor::from(std::span<const int32_t>(stream), {6, 65});
  std::vector<Tensor> values;
  for (const auto& p : model->parameters()) values.push_back(p.parameter->value);
  const int before = threads();
  std::vector<std::vector<Tensor>> runs;
  for (const int n : {1, 2}) {
    set_threads(n);
    const Tensor loss = model->loss(batch, Rng(1), true);
    runs.push_back(grad(loss, values));
    runs.back().push_back(loss.detach());
  }
  set_threads(before);
  for (std::size_t i = 0; i < runs[0].size(); ++i) CHECK(test::same_bits(runs[0][i], runs[1][i]));
}

TEST_CASE("ar: the reset lane scores each of 111,539 targets once, in 1742 windows and one of 51") {
  auto model = make_ar(text_spec(65, 64), {{"model.preset", "bigram"}});
  excite(*model);
  const std::vector<int32_t> stream = random_stream(111540, 65);
  LikelihoodOptions options;
  options.batch = 512;
  int64_t reported = 0;
  options.progress = [&](int64_t done, int64_t total) {
    CHECK(total == 111539);
    reported = done;
  };
  const std::vector<double> nats = model->stream_losses(stream, options);
  REQUIRE(nats.size() == 111539);
  CHECK(reported == 111539);
  // The bigram's loss is the log-softmax of one table row, whatever the window.
  const Tensor table = model->parameters()[0].parameter->value;
  for (const int64_t i : {0, 63, 64, 111487, 111488, 111538}) {
    double sum = 0;
    for (int64_t v = 0; v < 65; ++v) sum += std::exp(table.item(stream[i] * 65 + v));
    CHECK(nats[i] ==
          Approx(std::log(sum) - table.item(stream[i] * 65 + stream[i + 1])).epsilon(1e-5));
  }
  options.lane = "stride:32";
  options.progress = {};
  CHECK(model->stream_losses(stream, options).size() == 111539);
}

TEST_CASE("ar: every lane equals scoring its windows one target at a time") {
  const int64_t T = 8, n = 45;
  auto model = make_ar(text_spec(6, T), kTiny);
  excite(*model);
  const std::vector<int32_t> stream = random_stream(n, 6);
  const std::span<const int32_t> all(stream);
  LikelihoodOptions options;
  options.batch = 3;
  const auto reset = model->stream_losses(all, options);
  for (int64_t i = 0; i + 1 < n; ++i) {
    const int64_t first = i / T * T;
    CHECK(
        reset[i] ==
        Approx(nll_after(*model, all.subspan(first, i - first + 1), stream[i + 1])).epsilon(1e-4));
  }
  for (const int64_t S : {1, 3, 8}) {
    options.lane = "stride:" + std::to_string(S);
    const auto nats = model->stream_losses(all, options);
    REQUIRE(static_cast<int64_t>(nats.size()) == n - 1);
    for (int64_t i = 0; i + 1 < n; ++i) {
      // The window that scores target i ends at `end` (exclusive, in inputs).
      const int64_t end = i < T ? std::min(T, n - 1) : std::min(n - 1, T + ((i - T) / S + 1) * S);
      const int64_t first = S == T ? i / T * T : std::max<int64_t>(0, end - T);
      CHECK(nats[i] == Approx(nll_after(*model, all.subspan(first, i - first + 1), stream[i + 1]))
                           .epsilon(1e-4));
    }
  }
  options.lane = "reset";
  options.limit = 11;
  const auto limited = model->stream_losses(all, options);
  REQUIRE(limited.size() == 11);
  for (std::size_t i = 0; i < 11; ++i) CHECK(limited[i] == Approx(reset[i]).epsilon(1e-5));
  for (const char* lane :
       {"strided", "stride:", "stride:0", "stride:9", "stride:-1", "stride:4x"}) {
    options.lane = lane;
    CHECK_THROWS_AS(model->stream_losses(all, options), Error);
  }
}

TEST_CASE("ar: exact bits of an image by the chain rule; all images' probabilities sum to one") {
  MemoryImages data;
  data.about = image_spec(3, 2, 2);
  for (int32_t k = 0; k < 81; ++k)
    for (const int32_t place : {27, 9, 3, 1}) data.pixels.push_back(k / place % 3);
  auto model = make_ar(data.about, kTiny);
  excite(*model);
  LikelihoodOptions options;
  options.batch = 10;
  const Likelihood result = model->likelihood(data, data::Split::test, Rng(1), options);
  REQUIRE(result.bits.size() == 81);
  CHECK(result.kind == Kind::exact);
  double mass = 0;
  for (std::size_t k = 0; k < 81; ++k) {
    CHECK(result.symbols[k] == 4);
    mass += std::exp2(-result.bits[k]);
  }
  CHECK(mass == Approx(1).epsilon(1e-5));
  // Image 50 = 1212 in base 3, symbol by symbol.
  double nats = 0;
  const std::span<const int32_t> image = std::span<const int32_t>(data.pixels).subspan(200, 4);
  for (int64_t i = 0; i < 4; ++i) nats += nll_after(*model, image.subspan(0, i), image[i]);
  CHECK(result.bits[50] == Approx(nats / std::log(2)).epsilon(1e-5));
  options.limit = 7;
  CHECK(model->likelihood(data, data::Split::test, Rng(1), options).bits.size() == 7);
}

TEST_CASE("ar: greedy text is the argmax of forward passes, also past the window") {
  const int64_t T = 8;
  for (const char* pos : {"learned", "rope"}) {
    Keys keys = kTiny;
    keys["model.pos"] = pos;
    auto model = make_ar(text_spec(7, T), keys);
    excite(*model);
    SampleOptions options;
    options.count = 2;
    options.length = 30;
    options.temperature = 0;
    options.prompt = {1, 2, 3};
    const Tensor text = model->sample(Rng(1), options);
    REQUIRE(text.shape() == Shape{2, 30});
    std::vector<int32_t> all = options.prompt;
    int64_t start = 0;  // of the current window
    for (int64_t i = 0; i < 30; ++i) {
      if (static_cast<int64_t>(all.size()) - start > T)
        start = static_cast<int64_t>(all.size()) - T / 2;
      const NoGrad no_grad;
      const auto window = std::span<const int32_t>(all).subspan(start);
      const auto L = static_cast<int64_t>(window.size());
      const Tensor z = model->logits(Tensor::from(window, {1, L}), Context());
      int32_t best = 0;
      for (int32_t v = 1; v < 7; ++v)
        if (z.item((L - 1) * 7 + v) > z.item((L - 1) * 7 + best)) best = v;
      CHECK(text.item(i) == best);
      CHECK(text.item(30 + i) == best);
      all.push_back(best);
    }
  }
}

TEST_CASE("ar: sample k is the same in any batch; seeds differ") {
  auto model = make_ar(image_spec(4, 3, 3), kTiny);
  excite(*model);
  SampleOptions options;
  options.count = 70;  // more than one chunk
  const Tensor many = model->sample(Rng(1), options);
  REQUIRE(many.shape() == Shape{70, 9});
  options.count = 5;
  const Tensor few = model->sample(Rng(1), options);
  CHECK(std::equal(few.data<int32_t>(), few.data<int32_t>() + 45, many.data<int32_t>()));
  const Tensor other = model->sample(Rng(2), options);
  CHECK_FALSE(std::equal(few.data<int32_t>(), few.data<int32_t>() + 45, other.data<int32_t>()));
  for (const int32_t s : many.span<int32_t>()) CHECK((s >= 0 && s < 4));
  options.prompt = {3, 2, 1};
  const Tensor completed = model->sample(Rng(1), options);
  for (int64_t k = 0; k < 5; ++k)
    for (int64_t i = 0; i < 3; ++i) CHECK(completed.item(k * 9 + i) == 3 - i);
  options.prompt = {4};
  CHECK_THROWS_WITH(model->sample(Rng(1), options), Catch::Contains("outside the alphabet of 4"));
}

TEST_CASE("ar: samples of an image model have the model's own frequencies") {
  auto model = make_ar(image_spec(3, 1, 2), kTiny);
  excite(*model);
  MemoryImages data;
  data.about = image_spec(3, 1, 2);
  for (int32_t k = 0; k < 9; ++k)
    for (const int32_t place : {3, 1}) data.pixels.push_back(k / place % 3);
  const Likelihood exact = model->likelihood(data, data::Split::test, Rng(1), {});
  SampleOptions options;
  options.count = 5000;
  const Tensor samples = model->sample(Rng(8), options);
  std::vector<double> seen(9);
  for (int64_t k = 0; k < options.count; ++k)
    seen[samples.item(2 * k) * 3 + samples.item(2 * k + 1)] += 1;
  double chi2 = 0;
  for (int k = 0; k < 9; ++k) {
    const double expected = static_cast<double>(options.count) * std::exp2(-exact.bits[k]);
    chi2 += (seen[k] - expected) * (seen[k] - expected) / expected;
  }
  CHECK(chi2 < 20.09);  // 1 % point of chi-squared with 8 degrees of freedom
}

TEST_CASE("ar: a backbone without a stepper is sampled by forward passes") {
  const BackboneEntry& attention = find_backbone("attention");
  const BackboneEntry hidden{
      "hidden", "", [&](const BackboneSpec& s, Settings& t, const Rng& r) {
        return AnyBackbone(Hidden{std::make_shared<AnyBackbone>(attention.make(s, t, r))});
      }};
  Settings settings;
  for (const auto& [key, value] : kTiny) settings.set(key, value, "test");
  const Ar slow(text_spec(7, 8), {}, 16, hidden, settings, Rng(3));
  const Ar fast(text_spec(7, 8), {}, 16, attention, settings, Rng(3));
  SampleOptions options;
  options.count = 3;
  options.length = 20;
  const Tensor a = slow.sample(Rng(5), options), b = fast.sample(Rng(5), options);
  CHECK(std::equal(a.data<int32_t>(), a.data<int32_t>() + 60, b.data<int32_t>()));
}

TEST_CASE("ar: text without a prompt starts from a line feed where there is one") {
  data::DataSpec spec = text_spec(3, 4);
  auto model = make_ar(spec, {{"model.preset", "bigram"}});
  float* table = model->parameters()[0].parameter->value.mutable_data<float>();
  for (int i = 0; i < 9; ++i) table[i] = 0;
  table[0 * 3 + 0] = 50;  // after symbol 0 always 0
  table[1 * 3 + 2] = 50;  // after symbol 1 always 2
  SampleOptions options;
  options.count = 1;
  options.length = 1;
  CHECK(model->sample(Rng(1), options).item() == 0);
  spec.alphabet = "\xC3\xA4\nb";  // the line feed is the second symbol
  auto fed = make_ar(spec, {{"model.preset", "bigram"}});
  fed->parameters()[0].parameter->value.copy_from(model->parameters()[0].parameter->value);
  CHECK(fed->sample(Rng(1), options).item() == 2);
  options.length = 0;
  CHECK(fed->sample(Rng(1), options).shape() == Shape{1, 4});
}
