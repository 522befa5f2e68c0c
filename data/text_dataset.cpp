#include "data/text_dataset.h"

#include <algorithm>

namespace kindred::data {

namespace {

class TextDataset final : public Dataset {
 public:
  TextDataset(DataSpec spec, std::vector<int32_t> train, std::vector<int32_t> held_out)
      : spec_(std::move(spec)), train_(std::move(train)), held_out_(std::move(held_out)) {}
  const DataSpec& spec() const override { return spec_; }
  int64_t size(Split split) const override { return static_cast<int64_t>(stream(split).size()); }
  std::span<const int32_t> stream(Split split) const override {
    return split == Split::train ? train_ : held_out_;
  }
  Batch elements(Split, int64_t, int64_t) const override {
    fail(Fault::usage, "data", spec_.name, " is one stream of text without separate elements");
  }
  Batch batch(Split split, const Rng& rng, int64_t step, int64_t batch_size) const override {
    const auto text = stream(split);
    const int64_t window = spec_.length + 1;
    const int64_t starts = static_cast<int64_t>(text.size()) - spec_.length;
    check(starts > 0, "data", name(split), " of ", spec_.name, " has ", text.size(),
          " symbols, a window needs ", window);
    check(step >= 0 && batch_size > 0, "data", "batch ", step, " of ", batch_size, " windows");
    const Rng draws = rng.split(static_cast<uint64_t>(step));
    Batch batch;
    batch.symbols = Tensor::empty({batch_size, window}, DType::i32);
    int32_t* out = batch.symbols.mutable_data<int32_t>();
    for (int64_t i = 0; i < batch_size; ++i) {
      const uint64_t start = draws.below(static_cast<uint64_t>(starts), static_cast<uint64_t>(i));
      std::copy_n(text.data() + start, window, out + i * window);
    }
    return batch;
  }

 private:
  DataSpec spec_;
  std::vector<int32_t> train_, held_out_;
};

}  // namespace

std::shared_ptr<const Dataset> make_text_dataset(DataSpec spec, const Alphabet& alphabet,
                                                 std::vector<int32_t> symbols,
                                                 const DataOptions& options) {
  check(options.context > 0, "data", "context = ", options.context,
        "; a window has at least 1 symbol");
  const auto n = static_cast<int64_t>(symbols.size());
  const auto cut = static_cast<int64_t>(0.9 * static_cast<double>(n));
  const auto limited = [](int64_t count, int64_t limit) {
    return limit ? std::min(count, limit) : count;
  };
  const int64_t train = limited(cut, options.train_limit);
  const int64_t held_out = limited(n - cut, options.test_limit);
  if (train < options.context + 1 || held_out < 2)
    fail(Fault::data, "data", spec.name, ": ", n, " symbols give ", train, " for training and ",
         held_out, " held out; a window of context = ", options.context, " needs ",
         options.context + 1, " and 2");
  spec.modality = Modality::text;
  spec.levels = alphabet.size();
  spec.alphabet = alphabet.symbols();
  spec.length = options.context;
  spec.train_size = train;
  spec.validation_size = spec.test_size = held_out;
  const auto begin = symbols.begin();
  return std::make_shared<TextDataset>(std::move(spec), std::vector<int32_t>(begin, begin + train),
                                       std::vector<int32_t>(begin + cut, begin + cut + held_out));
}

std::string without_references(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size() - 1) + 1;
    const std::string_view line = text.substr(0, end);
    const std::size_t space = line.find(' ');
    out += space == std::string_view::npos ? line : line.substr(space + 1);
    text.remove_prefix(end);
  }
  return out;
}

}  // namespace kindred::data
