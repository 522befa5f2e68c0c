// A Markov chain whose every conditional is known, as a backbone of the objective "mask": inputs
// are one-hot rows (zeros where a symbol is hidden), outputs are ln p(x_i | all symbols that are
// shown).
#pragma once
#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "data/dataset.h"
#include "diffusion/mask.h"
#include "harness/config.h"

namespace kindred::test {

struct Chain {
  std::vector<double> start;               ///< [V] of the first symbol
  std::vector<std::vector<double>> moves;  ///< [V][V]
  int64_t V() const { return static_cast<int64_t>(start.size()); }

  /// p(x_i | shown) for every i, by messages from both sides; -1 is a hidden symbol.
  std::vector<std::vector<double>> conditionals(const std::vector<int>& shown) const {
    const auto n = shown.size(), v = start.size();
    const auto allowed = [&](std::size_t i, std::size_t a) {
      return shown[i] < 0 || shown[i] == static_cast<int>(a) ? 1.0 : 0.0;
    };
    std::vector<std::vector<double>> left(n, std::vector<double>(v, 0.0)), right = left, out = left;
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t a = 0; a < v; ++a) {
        if (i == 0) left[i][a] = start[a];
        for (std::size_t b = 0; b < v && i > 0; ++b)
          left[i][a] += left[i - 1][b] * allowed(i - 1, b) * moves[b][a];
      }
    for (std::size_t i = n; i-- > 0;)
      for (std::size_t a = 0; a < v; ++a) {
        right[i][a] = i + 1 == n ? 1.0 : 0.0;
        for (std::size_t b = 0; b < v && i + 1 < n; ++b)
          right[i][a] += moves[a][b] * allowed(i + 1, b) * right[i + 1][b];
      }
    for (std::size_t i = 0; i < n; ++i) {
      double total = 0;
      for (std::size_t a = 0; a < v; ++a) total += out[i][a] = left[i][a] * right[i][a];
      for (std::size_t a = 0; a < v; ++a) out[i][a] /= total;
    }
    return out;
  }
  /// -ln p(x[known..] | x[..known)).
  double nats(const std::vector<int>& x, std::size_t known) const {
    double sum = 0;
    for (std::size_t i = known; i < x.size(); ++i)
      sum -= std::log(i == 0 ? start[x[0]] : moves[x[i - 1]][x[i]]);
    return sum;
  }
  std::vector<int32_t> draw(int64_t n, const Rng& rng) const {
    std::vector<int32_t> x(n);
    for (int64_t i = 0; i < n; ++i) {
      const std::vector<double>& p = i == 0 ? start : moves[x[i - 1]];
      x[i] = harness::inverse_cdf(p, rng.uniform(i));
    }
    return x;
  }
};

/// Three symbols that like to repeat; its stationary distribution as the first one.
inline Chain sticky_chain() {
  Chain chain{{0, 0, 0}, {{0.7, 0.2, 0.1}, {0.1, 0.8, 0.1}, {0.3, 0.1, 0.6}}};
  std::vector<double> p(3, 1.0 / 3);
  for (int k = 0; k < 500; ++k) {
    std::vector<double> next(3, 0.0);
    for (std::size_t a = 0; a < 3; ++a)
      for (std::size_t b = 0; b < 3; ++b) next[b] += p[a] * chain.moves[a][b];
    p = next;
  }
  chain.start = p;
  return chain;
}

struct ChainBackbone {
  Chain chain;
  double shift = 0;  ///< added to every output: scores that do not add up to 1
  std::shared_ptr<std::vector<double>> times = {};  ///< hears the times of all rows, if not null

  Tensor forward(const Tensor& x, const harness::Context& context) const {
    const int64_t B = x.dim(0), P = x.dim(1), V = x.dim(2);
    Tensor y = Tensor::empty({B, P, V});
    for (int64_t b = 0; b < B; ++b) {
      if (times) times->push_back(context.time.item(b));
      std::vector<int> shown(P, -1);
      for (int64_t p = 0; p < P; ++p)
        for (int64_t v = 0; v < V; ++v)
          if (x.item((b * P + p) * V + v) == 1) shown[p] = static_cast<int>(v);
      const auto conditionals = chain.conditionals(shown);
      for (int64_t p = 0; p < P; ++p)
        for (int64_t v = 0; v < V; ++v)
          y.mutable_data<float>()[(b * P + p) * V + v] =
              static_cast<float>(std::log(conditionals[p][v] + 1e-30) + shift);
    }
    return y;
  }
  std::unique_ptr<harness::Stepper> stepper(int64_t) const { return nullptr; }
  template <class Self, class W>
  static void describe(Self&, W&) {}
};

inline data::DataSpec chain_spec(int64_t V, int64_t length, bool text) {
  data::DataSpec spec;
  spec.name = "chain";
  spec.levels = V;
  spec.length = length;
  if (!text) {
    spec.modality = data::Modality::image;
    spec.width = length;
  }
  return spec;
}

/// The objective on the exact conditionals.
inline std::unique_ptr<diffusion::MaskObjective> chain_model(const data::DataSpec& spec,
                                                             const ChainBackbone& backbone,
                                                             const diffusion::MaskConfig& config) {
  const harness::BackboneEntry entry{
      "chain", "", [&](const harness::BackboneSpec&, harness::Settings&, const Rng&) {
        return harness::AnyBackbone(backbone);
      }};
  harness::Settings settings;
  harness::SymbolConfig symbols;
  symbols.tie = "none";
  symbols.head = "identity";
  auto model = std::make_unique<diffusion::MaskObjective>(spec, config, symbols, spec.levels, entry,
                                                          settings, Rng(1));
  for (const auto& p : model->parameters()) {
    float* value = p.parameter->value.mutable_data<float>();
    for (int64_t i = 0; i < p.parameter->value.numel(); ++i)
      value[i] = p.path == "embedding.table" && i / spec.levels == i % spec.levels ? 1.0f : 0.0f;
  }
  return model;
}

/// A text, or elements of `length` symbols, held in memory.
struct HeldSymbols final : data::Dataset {
  data::DataSpec about;
  std::vector<int32_t> symbols;
  HeldSymbols(data::DataSpec spec, std::vector<int32_t> x)
      : about(std::move(spec)), symbols(std::move(x)) {}
  const data::DataSpec& spec() const override { return about; }
  int64_t size(data::Split) const override {
    const auto n = static_cast<int64_t>(symbols.size());
    return about.modality == data::Modality::text ? n : n / about.length;
  }
  std::span<const int32_t> stream(data::Split) const override { return symbols; }
  data::Batch elements(data::Split, int64_t first, int64_t count) const override {
    data::Batch batch;
    batch.symbols = Tensor::from(
        std::span<const int32_t>(symbols).subspan(first * about.length, count * about.length),
        {count, about.length});
    return batch;
  }
  data::Batch batch(data::Split, const Rng& rng, int64_t step, int64_t count) const override {
    const bool text = about.modality == data::Modality::text;
    const int64_t width = about.length + text;
    const Rng draws = rng.split(static_cast<uint64_t>(step));
    data::Batch batch;
    batch.symbols = Tensor::empty({count, width}, DType::i32);
    for (int64_t b = 0; b < count; ++b) {
      const int64_t starts = text ? size({}) - about.length : size({});
      const auto k = static_cast<int64_t>(draws.below(static_cast<uint64_t>(starts), b));
      std::copy_n(symbols.data() + (text ? k : k * width), width,
                  batch.symbols.mutable_data<int32_t>() + b * width);
    }
    return batch;
  }
};

}  // namespace kindred::test
