#include "data/tasks.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <sstream>

#include "autodiff/parallel.h"
#include "data/file.h"
#include "data/listops.h"
#include "data/permutation.h"
#include "data/signals.h"
#include "data/trajectories.h"

namespace kindred::data {

namespace {
constexpr uint64_t kParts = 16;  // of the content hash: 0 test, 1 validation, the rest training
constexpr int64_t kMostTries = 4096;  // draws until an element falls into its split

/// Collects "key=value " of every field.
struct Fields {
  std::vector<std::pair<std::string, std::string>> all;
  template <class T>
  void operator()(const std::string& name, const T& field, const std::string&) {
    std::ostringstream text;
    text << field;
    all.emplace_back(name, text.str());
  }
};

/// Fields that differ from their default.
std::vector<std::pair<std::string, std::string>> changed(const TaskOptions& options) {
  Fields now, standard;
  const TaskOptions defaults;
  TaskOptions::describe(options, now);
  TaskOptions::describe(defaults, standard);
  std::vector<std::pair<std::string, std::string>> result;
  for (std::size_t i = 0; i < now.all.size(); ++i)
    if (now.all[i] != standard.all[i]) result.push_back(now.all[i]);
  return result;
}

std::size_t position(Split split) { return static_cast<std::size_t>(split); }

class TaskDataset final : public Dataset {
 public:
  TaskDataset(DataSpec named, Task task, const std::string& rule, const DataOptions& options)
      : task_(std::move(task)), rng_(Rng(options.seed).split(rule)) {
    spec_ = task_.spec;
    spec_.name = std::move(named.name);
    spec_.modality = Modality::sequence;
    spec_.padded = task_.variable_length;
    const auto limited = [](int64_t n, int64_t limit) { return limit ? std::min(n, limit) : n; };
    sizes_ = {limited(task_.train, options.train_limit),
              limited(task_.held_out, options.test_limit),
              limited(task_.held_out, options.test_limit)};
    spec_.train_size = sizes_[0];
    spec_.validation_size = sizes_[1];
    spec_.test_size = sizes_[2];
    spec_.sha256 = sha256(rule + " " + changed_options(options.task) + fingerprint());
  }
  const DataSpec& spec() const override { return spec_; }
  int64_t size(Split split) const override { return sizes_[position(split)]; }

  Batch elements(Split split, int64_t first, int64_t count) const override {
    check(first >= 0 && count >= 0 && first + count <= size(split), "data", "elements [", first,
          ", ", first + count, ") of ", size(split), " in ", name(split), " of ", spec_.name);
    std::vector<int64_t> rows(static_cast<std::size_t>(count));
    for (int64_t i = 0; i < count; ++i) rows[static_cast<std::size_t>(i)] = first + i;
    return gather(split, rows);
  }
  Batch batch(Split split, const Rng& rng, int64_t step, int64_t batch_size) const override {
    check(step >= 0 && batch_size > 0, "data", "batch ", step, " of ", batch_size, " elements");
    return gather(split, epoch_rows(size(split), rng, step * batch_size, batch_size));
  }

 private:
  bool by_content() const { return spec_.levels > 0; }

  /// The part of a split that has this key.
  static bool belongs(uint64_t key, Split split) {
    const uint64_t part = key % kParts;
    return split == Split::test ? part == 0 : split == Split::validation ? part == 1 : part > 1;
  }

  void draw(Split split, int64_t index, TaskElement& element) const {
    const Rng own = rng_.split(name(split)).split(static_cast<uint64_t>(index));
    if (!by_content()) {
      element.length = static_cast<int32_t>(spec_.length);
      task_.draw(own, element);
      return;
    }
    for (int64_t attempt = 0; attempt < kMostTries; ++attempt) {
      std::fill(element.symbols.begin(), element.symbols.end(), 0);
      std::fill(element.classes.begin(), element.classes.end(), 0);
      std::fill(element.reals.begin(), element.reals.end(), 0.0f);
      element.length = static_cast<int32_t>(spec_.length);
      task_.draw(own.split(static_cast<uint64_t>(attempt)), element);
      const uint64_t key = sha256_key(
          {reinterpret_cast<const char*>(element.symbols.data()), element.symbols.size_bytes()});
      if (belongs(key, split)) return;
    }
    fail(Fault::usage, "data", spec_.name, ": there are too few different elements to fill ",
         name(split), "; make them longer or of more symbols");
  }

  Batch gather(Split split, const std::vector<int64_t>& rows) const {
    const auto B = static_cast<int64_t>(rows.size());
    const int64_t L = spec_.length, C = spec_.in_channels, T = spec_.targets,
                  D = spec_.target_channels;
    Batch batch;
    if (spec_.levels > 0)
      batch.symbols = Tensor::zeros({B, L}, DType::i32);
    else
      batch.values = Tensor::zeros({B, L, C});
    batch.targets = D > 0 ? Tensor::zeros({B, T, D}) : Tensor::zeros({B, T}, DType::i32);
    if (task_.variable_length) batch.lengths = Tensor::zeros({B}, DType::i32);
    const auto part = [](auto* all, int64_t row, int64_t n) {
      return std::span(all + row * n, static_cast<std::size_t>(n));
    };
    std::exception_ptr trouble;  // an exception must not leave a parallel loop
    std::mutex reporting;
    parallel_for(B, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) try {
          TaskElement element;
          if (spec_.levels > 0)
            element.symbols = part(batch.symbols.mutable_data<int32_t>(), b, L);
          else
            element.values = part(batch.values.mutable_data<float>(), b, L * C);
          if (D > 0)
            element.reals = part(batch.targets.mutable_data<float>(), b, T * D);
          else
            element.classes = part(batch.targets.mutable_data<int32_t>(), b, T);
          draw(split, rows[static_cast<std::size_t>(b)], element);
          if (batch.lengths.defined()) batch.lengths.mutable_data<int32_t>()[b] = element.length;
        } catch (...) {
          const std::lock_guard lock(reporting);
          trouble = std::current_exception();
        }
    });
    if (trouble) std::rethrow_exception(trouble);
    return batch;
  }

  /// Digest of some elements of every split: another generator is other data.
  std::string fingerprint() const {
    std::string digests;
    for (Split split : {Split::train, Split::validation, Split::test}) {
      const Batch batch = elements(split, 0, std::min<int64_t>(2, size(split)));
      for (const Tensor* t : {&batch.symbols, &batch.values, &batch.targets, &batch.lengths})
        if (t->defined()) digests += sha256({static_cast<const char*>(t->raw()), t->bytes()});
    }
    return digests;
  }

  Task task_;
  Rng rng_;
  DataSpec spec_;
  std::array<int64_t, 3> sizes_{};
};
}  // namespace

std::string changed_options(const TaskOptions& options) {
  std::string text;
  for (const auto& [key, value] : changed(options))
    text.append(key).append("=").append(value).append(" ");
  return text;
}

void check_task_options(const TaskOptions& options, const std::string& allowed,
                        const std::string& data) {
  for (const auto& [key, value] : changed(options))
    check((" " + allowed).find(" " + key + " ") != std::string::npos, "data", key, " = ", value,
          " does not apply to ", data,
          allowed.empty() ? "" : "; it takes " + allowed.substr(0, allowed.size() - 1));
}

int64_t option_or(const char* name, int64_t option, int64_t otherwise, int64_t least,
                  int64_t most) {
  const int64_t value = option == 0 ? otherwise : option;
  check(value >= least && value <= most, "data", name, " = ", value, " is not in [", least, ", ",
        most, "]");
  return value;
}

const std::vector<TaskEntry>& tasks() {
  static const std::vector<TaskEntry> all = {
      {"adding", "two marked numbers of a sequence, to be added; the best constant has MSE 1/6",
       "length ", adding_task},
      {"copy", "symbols, then blanks; the symbols are asked for at the end",
       "length lag tokens memorize ", copy_task},
      {"delay", "a band-limited signal, to be given back `lag` steps later",
       "length lag frequency ", delay_task},
      {"induction", "the symbol that once followed a trigger, asked for at a second trigger",
       "length tokens ", induction_task},
      {"listops", "nested MIN, MAX, MED and SM of digits as in Long Range Arena, ten classes",
       "min_length max_length ", listops_task},
      {"mackey-glass", "a chaotic series (delay 17), to be predicted 15 steps ahead or a horizon",
       "length ahead horizon ", mackey_glass_task},
      {"reconstruct", "a band-limited signal; its last `lag` samples are asked for at the end",
       "length lag frequency ", reconstruct_task},
      {"selective-copy", "copy with the symbols at random places among the blanks",
       "length tokens memorize ", selective_copy_task},
      {"trajectories",
       "strokes in the plane of twenty kinds, at any rate, also with samples missing",
       "length classes missing rate ", trajectories_task},
      {"white-signal", "a band-limited signal, to be predicted some steps ahead or a horizon",
       "length ahead horizon frequency rate ", white_signal_task},
  };
  return all;
}

const TaskEntry* find_task(const std::string& name) {
  for (const TaskEntry& entry : tasks())
    if (entry.name == name) return &entry;
  return nullptr;
}

std::shared_ptr<const Dataset> make_task(DataSpec spec, const TaskEntry& entry,
                                         const DataOptions& options) {
  check_task_options(options.task, entry.options, entry.name);
  return std::make_shared<TaskDataset>(std::move(spec), entry.make(options.task), entry.name,
                                       options);
}

}  // namespace kindred::data
