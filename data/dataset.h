// Dataset: index-addressed, const, thread-safe. Batches are a pure function of (seed, step), so
// resuming a run needs no stored cursor.
#pragma once
#include <memory>
#include <span>
#include <string>

#include "autodiff/rng.h"
#include "data/spec.h"
#include "data/task_options.h"

namespace kindred::data {

class Dataset {
 public:
  virtual ~Dataset() = default;
  virtual const DataSpec& spec() const = 0;
  /// Elements of a split (for text: symbols).
  virtual int64_t size(Split split) const = 0;
  /// Elements [first, first + count) of a split in their fixed order; not for text.
  virtual Batch elements(Split split, int64_t first, int64_t count) const = 0;
  /// Text: the stream of a split. Empty for other modalities.
  virtual std::span<const int32_t> stream(Split) const { return {}; }
  /// Gradient of ln p at x [n, length] f64, p the law of the elements with N(0, blur^2 I) added,
  /// where that is known (real points of Gaussian generators); undefined otherwise.
  virtual Tensor true_score(const Tensor& /*x*/, double /*blur*/) const { return {}; }
  /// Training batch number `step`. Images and points: epochs over a keyed permutation; text:
  /// windows of spec().length + 1 symbols starting uniformly in [0, n - length - 1].
  virtual Batch batch(Split split, const Rng& rng, int64_t step, int64_t batch_size) const = 0;
};

/// Options of a data set as the user writes them; unknown or impossible combinations are errors.
struct DataOptions {
  std::string name = "fashion-mnist";
  std::string path;  ///< a file of the user's own (text, IDX or CSV), or where a source lies
  std::string alphabet = "auto";  ///< text: see choose_alphabet in data/alphabet.h
  int64_t size = 0;               ///< images: average blocks down to size x size (0: as they are)
  int64_t levels = 0;       ///< images: fewer grey levels, floor(x * levels / original); 0: all
  int64_t context = 64;     ///< text: window length T
  int64_t train_limit = 0;  ///< use only the first elements of a split (0: all)
  int64_t test_limit = 0;
  uint64_t seed = 0;  ///< generators only
  TaskOptions task;   ///< of generated tasks and pixel sequences; their keys stand beside these

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("name", self.name, "data set: see `kindred data list`; or text, idx, csv with a path");
    visit("path", self.path, "file to read instead of the known source");
    visit("alphabet", self.alphabet, "text symbols: auto, bytes, ascii, utf8, chars, symbols:LIST");
    visit("size", self.size, "average images down to size x size; 0 keeps them");
    visit("levels", self.levels, "reduce grey levels (or bins of quantised points); 0 keeps them");
    visit("context", self.context, "text window in symbols");
    visit("train_limit", self.train_limit, "use only the first N training elements; 0 = all");
    visit("test_limit", self.test_limit, "score only the first N held-out elements; 0 = all");
    visit("seed", self.seed, "seed of generated data");
    TaskOptions::describe(self.task, visit);
  }
};

/// Opens a data set by its options. Throws Fault::data with a remedy when the source is missing.
std::shared_ptr<const Dataset> open(const DataOptions& options);

}  // namespace kindred::data
