#include "harness/baselines.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "harness/classify.h"
#include "harness/config.h"

namespace kindred::harness {

namespace {

/// Counts of the next level given a context number; all three baselines are such a table.
class Table final : public CountingModel {
 public:
  enum class Context { none, position, left_up };

  Table(std::string name, std::string summary, Context context, const data::DataSpec& spec)
      : name_(std::move(name)),
        summary_(std::move(summary)),
        context_(context),
        levels_(spec.levels),
        width_(spec.width),
        channels_(spec.channels),
        length_(spec.length),
        contexts_(context == Context::none       ? 1
                  : context == Context::position ? length_
                                                 : levels_ * levels_),
        counts_(static_cast<std::size_t>(contexts_ * levels_), 0),
        totals_(static_cast<std::size_t>(contexts_), 0) {}

  std::string name() const override { return name_; }
  std::string summary() const override { return summary_; }
  int64_t parameters() const override {
    return context_ == Context::none ? 0 : contexts_ * (levels_ - 1);
  }

  void count(const int32_t* pixels) {
    for (int64_t i = 0; i < length_; ++i) {
      const int64_t c = context(pixels, i);
      ++counts_[static_cast<std::size_t>(c * levels_ + pixels[i])];
      ++totals_[static_cast<std::size_t>(c)];
    }
  }
  double bits(const int32_t* pixels) const override {
    double sum = 0;
    for (int64_t i = 0; i < length_; ++i)
      sum -= std::log2(probability(context(pixels, i), pixels[i]));
    return sum;
  }
  void sample(const Rng& rng, int32_t* pixels) const override {
    for (int64_t i = 0; i < length_; ++i) {
      const int64_t c = context(pixels, i);
      double left = rng.uniform(static_cast<uint64_t>(i));
      int32_t level = 0;
      while (level + 1 < levels_ && (left -= probability(c, level)) > 0) ++level;
      pixels[i] = level;
    }
  }

 private:
  double probability(int64_t c, int64_t level) const {
    return (static_cast<double>(counts_[static_cast<std::size_t>(c * levels_ + level)]) + 1) /
           static_cast<double>(totals_[static_cast<std::size_t>(c)] + levels_);
  }
  int64_t context(const int32_t* pixels, int64_t i) const {
    if (context_ == Context::none) return 0;
    if (context_ == Context::position) return i;
    const int64_t row = width_ * channels_;
    const int64_t left = i % row >= channels_ ? pixels[i - channels_] : 0;
    const int64_t up = i >= row ? pixels[i - row] : 0;
    return left * levels_ + up;
  }

  std::string name_, summary_;
  Context context_;
  int64_t levels_, width_, channels_, length_, contexts_;
  std::vector<int64_t> counts_, totals_;
};

}  // namespace

std::unique_ptr<CountingModel> count_model(const std::string& name, const data::Dataset& data) {
  const data::DataSpec& spec = data.spec();
  check(spec.levels > 0 && spec.modality != data::Modality::text, "baseline",
        "needs quantised images or points, ", spec.name, " has none");
  std::unique_ptr<Table> table;
  if (name == "uniform")
    return std::make_unique<Table>(name, "every level equally likely", Table::Context::none, spec);
  if (name == "histogram") {
    table =
        std::make_unique<Table>(name, "a histogram for each pixel", Table::Context::position, spec);
  } else if (name == "context2") {
    table =
        std::make_unique<Table>(name, "p(x | left, up), one table", Table::Context::left_up, spec);
  } else {
    fail(Fault::usage, "baseline", "unknown baseline \"", name,
         "\"; choose from uniform, histogram, context2");
  }
  const int64_t n = data.size(data::Split::train);
  for (int64_t first = 0; first < n; first += 1024) {
    const data::Batch batch =
        data.elements(data::Split::train, first, std::min<int64_t>(1024, n - first));
    for (int64_t b = 0; b < batch.symbols.dim(0); ++b)
      table->count(batch.symbols.data<int32_t>() + b * spec.length);
  }
  return table;
}

namespace {
constexpr int64_t kTargetsFrom = 8192;  ///< training elements that averages are taken over

/// Calls visit(batch) for the first `count` elements of a split.
template <class Visit>
void visit_elements(const data::Dataset& data, data::Split split, int64_t count, Visit visit) {
  for (int64_t first = 0; first < count; first += 256)
    visit(data.elements(split, first, std::min<int64_t>(256, count - first)));
}

Likelihood constant_class(const data::Dataset& data, data::Split split, int64_t train,
                          int64_t scored) {
  const data::DataSpec& spec = data.spec();
  std::vector<double> counts(static_cast<std::size_t>(spec.classes), 1.0);
  const auto each_label = [&](const data::Batch& batch, const auto& visit) {
    const Tensor targets = class_targets(batch, spec);
    for (int64_t i = 0; i < targets.numel(); ++i)
      if (targets.data<int32_t>()[i] >= 0)
        visit(i / spec.targets, static_cast<std::size_t>(targets.data<int32_t>()[i]));
  };
  double total = static_cast<double>(spec.classes);
  visit_elements(data, data::Split::train, train, [&](const data::Batch& batch) {
    each_label(batch, [&](int64_t, std::size_t label) { ++counts[label], ++total; });
  });
  const auto guess =
      static_cast<std::size_t>(std::max_element(counts.begin(), counts.end()) - counts.begin());
  Likelihood result;
  double right = 0, labels = 0;
  visit_elements(data, split, scored, [&](const data::Batch& batch) {
    const std::size_t start = result.bits.size();
    result.bits.resize(start + static_cast<std::size_t>(class_targets(batch, spec).dim(0)), 0.0);
    result.symbols.resize(result.bits.size(), 0.0);
    each_label(batch, [&](int64_t element, std::size_t label) {
      result.bits[start + static_cast<std::size_t>(element)] -= std::log2(counts[label] / total);
      ++result.symbols[start + static_cast<std::size_t>(element)];
      right += label == guess;
      ++labels;
    });
  });
  result.unit = "bits/label";
  result.metrics = {{"accuracy", right / labels}};
  result.note = "class frequencies of the training data";
  return result;
}

Likelihood constant_value(const data::Dataset& data, data::Split split, int64_t train,
                          int64_t scored) {
  const auto D = static_cast<std::size_t>(data.spec().target_channels);
  std::vector<double> mean(D, 0.0);
  double count = 0;
  visit_elements(data, data::Split::train, train, [&](const data::Batch& batch) {
    for (int64_t i = 0; i < batch.targets.numel(); ++i)
      mean[static_cast<std::size_t>(i) % D] += batch.targets.item(i);
    count += static_cast<double>(batch.targets.numel());
  });
  for (double& m : mean) m *= static_cast<double>(D) / count;
  Likelihood result;
  std::vector<double> sum(D, 0.0), squares(D, 0.0);
  visit_elements(data, split, scored, [&](const data::Batch& batch) {
    const int64_t each = batch.targets.numel() / batch.targets.dim(0);
    for (int64_t i = 0; i < batch.targets.numel(); ++i) {
      if (i % each == 0) {
        result.bits.push_back(0);
        result.symbols.push_back(static_cast<double>(each));
      }
      const auto d = static_cast<std::size_t>(i) % D;
      const double residual = batch.targets.item(i) - mean[d];
      result.bits.back() += residual * residual;
      sum[d] += residual;
      squares[d] += residual * residual;
    }
  });
  const double mse = result.bits_per_symbol();
  double variance = 0;  // of what was scored, about the mean of each channel
  const double each =
      std::accumulate(result.symbols.begin(), result.symbols.end(), 0.0) / static_cast<double>(D);
  for (std::size_t d = 0; d < D; ++d)
    variance += (squares[d] / each - sum[d] * sum[d] / (each * each)) / static_cast<double>(D);
  result.unit = "MSE";
  result.metrics = {
      {"mse", mse}, {"rmse", std::sqrt(mse)}, {"rmse_over_std", std::sqrt(mse / variance)}};
  result.note = "mean of the training targets";
  return result;
}
}  // namespace

Likelihood constant_baseline(const data::Dataset& data, data::Split split, int64_t limit) {
  const data::DataSpec& spec = data.spec();
  check(spec.targets > 0, "baseline", "constant needs data with targets, ", spec.name, " has none");
  const int64_t train = std::min(kTargetsFrom, data.size(data::Split::train));
  const int64_t scored = limit > 0 ? std::min(limit, data.size(split)) : data.size(split);
  return spec.target_channels > 0 ? constant_value(data, split, train, scored)
                                  : constant_class(data, split, train, scored);
}

Likelihood score(const CountingModel& model, const data::Dataset& data, data::Split split,
                 int64_t limit) {
  const int64_t n = limit > 0 ? std::min(limit, data.size(split)) : data.size(split);
  const int64_t length = data.spec().length;
  Likelihood result;
  result.kind = Kind::exact;
  result.note = "counts with add-one smoothing";
  for (int64_t first = 0; first < n; first += 1024) {
    const data::Batch batch = data.elements(split, first, std::min<int64_t>(1024, n - first));
    for (int64_t b = 0; b < batch.symbols.dim(0); ++b) {
      result.bits.push_back(model.bits(batch.symbols.data<int32_t>() + b * length));
      result.symbols.push_back(static_cast<double>(length));
    }
  }
  return result;
}

Tensor sample(const CountingModel& model, const data::DataSpec& spec, const Rng& rng,
              int64_t count) {
  Tensor out = Tensor::empty({count, spec.length}, DType::i32);
  for (int64_t k = 0; k < count; ++k)
    model.sample(rng.split(static_cast<uint64_t>(k)),
                 out.mutable_data<int32_t>() + k * spec.length);
  return out;
}

}  // namespace kindred::harness
