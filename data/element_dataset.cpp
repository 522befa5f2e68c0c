#include "data/element_dataset.h"

#include <algorithm>

#include "data/permutation.h"

namespace kindred::data {

namespace {

class ElementDataset final : public Dataset {
 public:
  using Score = std::function<Tensor(const Tensor&, double)>;
  ElementDataset(DataSpec spec, std::array<Rows, 3> splits, Score true_score)
      : spec_(std::move(spec)), splits_(std::move(splits)), true_score_(std::move(true_score)) {
    spec_.train_size = splits_[0].count;
    spec_.validation_size = splits_[1].count;
    spec_.test_size = splits_[2].count;
  }
  const DataSpec& spec() const override { return spec_; }
  int64_t size(Split split) const override { return rows(split).count; }
  Tensor true_score(const Tensor& x, double blur) const override {
    return true_score_ ? true_score_(x, blur) : Tensor();
  }

  Batch elements(Split split, int64_t first, int64_t count) const override {
    check(first >= 0 && count >= 0 && first + count <= size(split), "data", "elements [", first,
          ", ", first + count, ") of ", size(split), " in ", name(split), " of ", spec_.name);
    return gather(split, count, [=](int64_t i) { return first + i; });
  }

  Batch batch(Split split, const Rng& rng, int64_t step, int64_t batch_size) const override {
    const int64_t n = size(split);
    check(n > 0, "data", spec_.name, " has no elements in ", name(split));
    check(step >= 0 && batch_size > 0, "data", "batch ", step, " of ", batch_size, " elements");
    const std::vector<int64_t> order = epoch_rows(n, rng, step * batch_size, batch_size);
    return gather(split, batch_size, [&](int64_t i) { return order[static_cast<std::size_t>(i)]; });
  }

 private:
  const Rows& rows(Split split) const { return splits_[static_cast<std::size_t>(split)]; }

  /// The rows index(0), ..., index(count - 1), asked for in this order.
  template <class Index>
  Batch gather(Split split, int64_t count, Index index) const {
    const Rows& from = rows(split);
    const int64_t length = spec_.length;
    Batch batch;
    int32_t* symbols = nullptr;
    float* values = nullptr;
    int32_t* labels = nullptr;
    if (spec_.levels > 0) {
      batch.symbols = Tensor::empty({count, length}, DType::i32);
      symbols = batch.symbols.mutable_data<int32_t>();
    } else {
      batch.values = Tensor::empty({count, length});
      values = batch.values.mutable_data<float>();
    }
    if (!from.labels.empty()) {
      batch.labels = Tensor::empty({count}, DType::i32);
      labels = batch.labels.mutable_data<int32_t>();
    }
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = index(i);
      if (symbols) std::copy_n(from.symbols.data() + row * length, length, symbols + i * length);
      if (values) std::copy_n(from.values.data() + row * length, length, values + i * length);
      if (labels) labels[i] = from.labels[row];
    }
    return batch;
  }

  DataSpec spec_;
  std::array<Rows, 3> splits_;
  Score true_score_;
};

}  // namespace

std::shared_ptr<const Dataset> make_element_dataset(
    DataSpec spec, std::array<Rows, 3> splits,
    std::function<Tensor(const Tensor& x, double blur)> true_score) {
  for (const Rows& r : splits) {
    const auto expected = static_cast<std::size_t>(r.count * spec.length);
    check((spec.levels > 0 ? r.symbols.size() : r.values.size()) == expected &&
              (r.labels.empty() || static_cast<int64_t>(r.labels.size()) == r.count),
          "data", spec.name, ": rows of another size than ", r.count, " x ", spec.length);
  }
  const auto most = [&] {
    int32_t label = -1;
    for (const Rows& r : splits)
      for (const int32_t l : r.labels) {
        check(l >= 0, "data", spec.name, ": label ", l, " is negative");
        label = std::max(label, l);
      }
    return label;
  }();
  if (spec.classes == 0) spec.classes = most + 1;
  check(most < spec.classes, "data", spec.name, ": label ", most, " of ", spec.classes, " classes");
  if (spec.classes > 0) spec.targets = 1;
  return std::make_shared<ElementDataset>(std::move(spec), std::move(splits),
                                          std::move(true_score));
}

}  // namespace kindred::data
