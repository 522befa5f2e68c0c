#include "harness/baselines.h"

#include <cmath>

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
        contexts_(context == Context::none ? 1 : context == Context::position ? length_ : levels_ * levels_),
        counts_(static_cast<std::size_t>(contexts_ * levels_), 0),
        totals_(static_cast<std::size_t>(contexts_), 0) {}

  std::string name() const override { return name_; }
  std::string summary() const override { return summary_; }
  int64_t parameters() const override { return context_ == Context::none ? 0 : contexts_ * (levels_ - 1); }

  void count(const int32_t* pixels) {
    for (int64_t i = 0; i < length_; ++i) {
      const int64_t c = context(pixels, i);
      ++counts_[static_cast<std::size_t>(c * levels_ + pixels[i])];
      ++totals_[static_cast<std::size_t>(c)];
    }
  }
  double bits(const int32_t* pixels) const override {
    double sum = 0;
    for (int64_t i = 0; i < length_; ++i) sum -= std::log2(probability(context(pixels, i), pixels[i]));
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
  check(spec.levels > 0 && spec.modality != data::Modality::text, "baseline", "needs quantised images or points, ",
        spec.name, " has none");
  std::unique_ptr<Table> table;
  if (name == "uniform")
    return std::make_unique<Table>(name, "every level equally likely", Table::Context::none, spec);
  if (name == "histogram") {
    table = std::make_unique<Table>(name, "a histogram for each pixel", Table::Context::position, spec);
  } else if (name == "context2") {
    table = std::make_unique<Table>(name, "p(x | left, up), one table", Table::Context::left_up, spec);
  } else {
    fail(Fault::usage, "baseline", "unknown baseline \"", name, "\"; choose from uniform, histogram, context2");
  }
  const int64_t n = data.size(data::Split::train);
  for (int64_t first = 0; first < n; first += 1024) {
    const data::Batch batch = data.elements(data::Split::train, first, std::min<int64_t>(1024, n - first));
    for (int64_t b = 0; b < batch.symbols.dim(0); ++b) table->count(batch.symbols.data<int32_t>() + b * spec.length);
  }
  return table;
}

Likelihood score(const CountingModel& model, const data::Dataset& data, data::Split split, int64_t limit) {
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

Tensor sample(const CountingModel& model, const data::DataSpec& spec, const Rng& rng, int64_t count) {
  Tensor out = Tensor::empty({count, spec.length}, DType::i32);
  for (int64_t k = 0; k < count; ++k)
    model.sample(rng.split(static_cast<uint64_t>(k)), out.mutable_data<int32_t>() + k * spec.length);
  return out;
}

}  // namespace kindred::harness
