// data::open: from the options a user writes to a data set: a known source (recipe), a generator,
// or a file of the user's own (text, idx, csv).
#include <algorithm>
#include <cmath>
#include <filesystem>

#include "autodiff/choice.h"
#include "data/csv.h"
#include "data/dataset.h"
#include "data/file.h"
#include "data/generators.h"
#include "data/images.h"
#include "data/pixel_order.h"
#include "data/store.h"
#include "data/tasks.h"
#include "data/text_dataset.h"

namespace kindred::data {

namespace fs = std::filesystem;

namespace {
constexpr const char* kWhere = "data";
constexpr uint64_t kValidationPart = 12;  // one in twelve training images, chosen by content

std::string title(const DataOptions& o) {
  std::string text = o.name;
  const auto add = [&](const char* key, int64_t value) {
    if (value) text.append(" ").append(key).append("=").append(std::to_string(value));
  };
  if (!o.path.empty() && find_recipe(o.name) == nullptr)
    text.append(" ").append(fs::path(o.path).filename().string());
  if (o.alphabet != "auto") text.append(" alphabet=").append(o.alphabet);
  add("size", o.size);
  add("levels", o.levels);
  add("train_limit", o.train_limit);
  add("test_limit", o.test_limit);
  add("seed", static_cast<int64_t>(o.seed));
  const std::string task = changed_options(o.task);
  return task.empty() ? text : text + " " + task.substr(0, task.size() - 1);
}

/// `extra`: options of tasks that apply, each with a space after it.
void check_options(const DataOptions& o, Modality modality, const std::string& extra = "") {
  check_task_options(o.task, modality == Modality::image ? "rate order " : extra, o.name);
  check(o.size == 0 || modality == Modality::image, kWhere, "size = ", o.size,
        " applies to images only, ", o.name, " is ", name(modality));
  check(o.levels == 0 || modality != Modality::text, kWhere, "levels = ", o.levels,
        " does not apply to text; the alphabet gives the symbols");
  check(o.alphabet == "auto" || modality == Modality::text, kWhere, "alphabet = ", o.alphabet,
        " applies to text only, ", o.name, " is ", name(modality));
  check(o.size >= 0 && o.levels >= 0 && o.train_limit >= 0 && o.test_limit >= 0, kWhere,
        "size, levels, train_limit and test_limit are not negative");
}

std::shared_ptr<const Dataset> open_text(DataSpec spec, const std::string& text,
                                         const std::string& origin, const DataOptions& options) {
  if (text.empty()) fail(Fault::data, kWhere, origin, ": the text is empty");
  const Alphabet alphabet = choose_alphabet(options.alphabet, text, origin);
  return make_text_dataset(std::move(spec), alphabet, alphabet.encode(text, origin), options);
}

/// Images in another order or at another rate are sequences of pixels: neighbours in the plane are
/// lost, and what models pictures has no use for them.
void make_sequence(DataSpec& spec, std::array<Rows, 3>& splits, const TaskOptions& o) {
  if (o.order == "raster" && o.rate == 1) return;
  check(spec.classes > 0, kWhere, "order and rate make sequences to classify, and ", spec.name,
        " has no labels");
  const std::vector<int64_t> order = pixel_order(o.order, spec.height, spec.width);
  const auto rate = static_cast<int64_t>(o.rate);
  check(o.rate == static_cast<double>(rate) && rate >= 1 && rate <= spec.length, kWhere,
        "rate = ", o.rate, "; of images every first, second, third ... pixel can be kept");
  for (Rows& rows : splits) rows = reordered(rows, order, rate);
  if (o.order != "raster") spec.name += " (order " + order_hash(order) + ")";
  spec.modality = Modality::sequence;
  spec.length = (spec.length + rate - 1) / rate;
  spec.height = 1;
  spec.width = spec.length;
  spec.rate = o.rate;
}

/// Image splits: keys of [0, modulus) by content; the official test set, if there is one, is kept.
std::shared_ptr<const Dataset> open_images(DataSpec spec, const ImageSet& train,
                                           const ImageSet* test, const DataOptions& options) {
  const auto keys = content_keys(train.pixels, train.height * train.width);
  const uint64_t modulus = test ? kValidationPart : 10;
  const uint64_t held_out = test ? 0 : 1;  // parts for the test split
  const auto part = [&](uint64_t first, uint64_t last, int64_t limit) {
    return rows_with_key(keys, modulus, first, last, limit);
  };
  const ImageSet small = reduce(train, options.size, options.levels);
  std::array<Rows, 3> splits;
  splits[0] = select(small, part(held_out + 1, modulus, options.train_limit));
  splits[1] = select(small, part(held_out, held_out + 1, options.test_limit));
  if (test) {
    std::vector<int64_t> rows(static_cast<std::size_t>(
        options.test_limit ? std::min(options.test_limit, test->count) : test->count));
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
    splits[2] = select(reduce(*test, options.size, options.levels), rows);
  } else {
    splits[2] = select(small, part(0, held_out, options.test_limit));
  }
  spec.modality = Modality::image;
  spec.ordered = true;
  for (const ImageSet* set : {&train, test})
    if (set != nullptr && !set->labels.empty())
      spec.classes = std::max<int64_t>(
          spec.classes, 1 + *std::max_element(set->labels.begin(), set->labels.end()));
  spec.levels = small.levels;
  spec.height = small.height;
  spec.width = small.width;
  spec.length = small.height * small.width;
  make_sequence(spec, splits, options.task);
  return make_element_dataset(std::move(spec), std::move(splits));
}

void check_same_size(const ImageSet& train, const ImageSet& test, const std::string& name) {
  if (train.height != test.height || train.width != test.width)
    fail(Fault::data, kWhere, name, ": training images are ", train.height, " x ", train.width,
         ", test images ", test.height, " x ", test.width);
}

/// Images in a CSV file: height * width levels a row, then perhaps the class.
ImageSet images_of(const Matrix& m, const Recipe& recipe, const std::string& origin) {
  ImageSet set;
  set.count = m.rows;
  set.height = recipe.height;
  set.width = recipe.width;
  set.levels = recipe.levels;
  const int64_t length = set.height * set.width;
  if (m.columns != length && m.columns != length + 1)
    fail(Fault::data, kWhere, origin, ": ", m.columns, " columns, expected ", length,
         " pixels (and a class)");
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < length; ++c) {
      const double v = m.at(r, c);
      if (v < 0 || v >= static_cast<double>(set.levels) || v != std::floor(v))
        fail(Fault::data, kWhere, origin, ": row ", r + 1, ", column ", c + 1, ": ", v,
             " is not one of the levels 0 to ", set.levels - 1);
      set.pixels.push_back(static_cast<uint8_t>(v));
    }
    if (m.columns > length) set.labels.push_back(static_cast<int32_t>(m.at(r, length)));
  }
  return set;
}

std::shared_ptr<const Dataset> open_recipe(DataSpec spec, const Recipe& recipe,
                                           const DataOptions& options) {
  check_options(options, recipe.modality);
  auto files = Store().load(recipe, options.path);
  const auto file = [&](const std::string& role) {
    const auto at = std::find_if(files.begin(), files.end(),
                                 [&](const SourceFile& f) { return f.role == role; });
    return at == files.end() ? SourceFile{} : std::move(*at);
  };
  spec.sha256 = recipe.sha256();
  if (recipe.format == "idx") {
    const auto read = [&](const std::string& part) {
      SourceFile images = file(part + "-images"), labels = file(part + "-labels");
      return read_idx_images(std::move(images.bytes), std::move(labels.bytes), images.origin,
                             labels.origin);
    };
    const ImageSet train = read("train"), test = read("test");
    check_same_size(train, test, recipe.name);
    return open_images(std::move(spec), train, &test, options);
  }
  SourceFile data = file("data");
  const std::string bytes = gunzip(std::move(data.bytes), data.origin);
  if (recipe.format == "csv") {
    const ImageSet set = images_of(parse_csv(bytes, data.origin), recipe, data.origin);
    return open_images(std::move(spec), set, nullptr, options);
  }
  return open_text(std::move(spec),
                   recipe.transform == "drop-references" ? without_references(bytes) : bytes,
                   data.origin, options);
}

/// IDX images of the user: one file (split by content), or a folder with the names of the MNIST
/// files, compressed or not.
std::shared_ptr<const Dataset> open_idx(DataSpec spec, const DataOptions& options) {
  check_options(options, Modality::image);
  const fs::path path = options.path;
  if (!fs::is_directory(path)) {
    std::string bytes = read_file(path);
    spec.sha256 = sha256(bytes);
    const ImageSet set = read_idx_images(std::move(bytes), "", options.path, "");
    return open_images(std::move(spec), set, nullptr, options);
  }
  std::string digests;
  const auto read = [&](const std::string& part) {
    const auto find = [&](const std::string& stem) {
      const fs::path packed = path / (stem + ".gz");
      return fs::exists(packed) ? packed : path / stem;
    };
    const fs::path images = find(part + "-images-idx3-ubyte");
    const fs::path labels = find(part + "-labels-idx1-ubyte");
    std::string pixels = read_file(images), classes = fs::exists(labels) ? read_file(labels) : "";
    digests += sha256(pixels) + '\n' + sha256(classes) + '\n';
    return read_idx_images(std::move(pixels), std::move(classes), images.string(), labels.string());
  };
  const ImageSet train = read("train"), test = read("t10k");
  check_same_size(train, test, options.path);
  spec.sha256 = sha256(digests);
  return open_images(std::move(spec), train, &test, options);
}

/// A CSV file of the user: rows are points. Real values, or with `levels` = K whole numbers below
/// K.
std::shared_ptr<const Dataset> open_csv(DataSpec spec, const DataOptions& options) {
  check_options(options, Modality::points);
  check(options.levels == 0 || (options.levels >= 2 && options.levels <= 256), kWhere,
        "levels = ", options.levels, "; 2 to 256, or 0 for real values");
  std::string bytes = read_file(options.path);
  spec.sha256 = sha256(bytes);
  const Matrix m = parse_csv(gunzip(std::move(bytes), options.path), options.path);
  spec.modality = Modality::points;
  spec.levels = options.levels;
  spec.width = spec.length = m.columns;
  std::vector<uint64_t> keys;
  for (int64_t r = 0; r < m.rows; ++r)
    keys.push_back(sha256_key({reinterpret_cast<const char*>(m.values.data() + r * m.columns),
                               static_cast<std::size_t>(m.columns) * sizeof(double)}));
  std::array<Rows, 3> splits;
  const auto fill = [&](Split split, uint64_t first, uint64_t last, int64_t limit) {
    Rows& out = splits[static_cast<std::size_t>(split)];
    for (int64_t r : rows_with_key(keys, 10, first, last, limit)) {
      ++out.count;
      for (int64_t c = 0; c < m.columns; ++c) {
        const double v = m.at(r, c);
        if (options.levels == 0) {
          out.values.push_back(static_cast<float>(v));
          continue;
        }
        if (v < 0 || v >= static_cast<double>(options.levels) || v != std::floor(v))
          fail(Fault::data, kWhere, options.path, ": row ", r + 1, ", column ", c + 1, ": ", v,
               " is not one of the levels 0 to ", options.levels - 1);
        out.symbols.push_back(static_cast<uint8_t>(v));
      }
    }
  };
  fill(Split::train, 2, 10, options.train_limit);
  fill(Split::validation, 1, 2, options.test_limit);
  fill(Split::test, 0, 1, options.test_limit);
  return make_element_dataset(std::move(spec), std::move(splits));
}

[[noreturn]] void unknown_name(const std::string& name) {
  std::vector<std::string> names;
  for (const Recipe& r : recipes()) names.push_back(r.name);
  for (const GeneratorEntry& g : generators()) names.push_back(g.name);
  for (const TaskEntry& t : tasks()) names.push_back(t.name);
  for (const char* own : {"text", "idx", "csv"}) names.emplace_back(own);
  std::string list;
  for (const std::string& known : names) list += (list.empty() ? "" : ", ") + known;
  fail(Fault::usage, kWhere, "unknown data set \"", name, '"', did_you_mean(name, names),
       "; known: ", list);
}
}  // namespace

std::shared_ptr<const Dataset> open(const DataOptions& options) {
  DataSpec spec;
  spec.name = title(options);
  if (const Recipe* recipe = find_recipe(options.name))
    return open_recipe(std::move(spec), *recipe, options);
  if (const GeneratorEntry* generator = find_generator(options.name)) {
    check(options.path.empty(), kWhere, options.name, " is generated; path does not apply");
    check_options(options, generator->modality, generator->options);
    check(options.alphabet == "auto", kWhere, options.name,
          " is generated; alphabet does not apply");
    return make_generated(std::move(spec), options);
  }
  if (const TaskEntry* task = find_task(options.name)) {
    check(options.path.empty() && options.alphabet == "auto" && options.size == 0 &&
              options.levels == 0,
          kWhere, options.name, " is generated; path, alphabet, size and levels do not apply (got ",
          !options.path.empty()        ? "path"
          : options.alphabet != "auto" ? "alphabet"
          : options.size != 0          ? "size"
                                       : "levels",
          ")");
    check(options.train_limit >= 0 && options.test_limit >= 0, kWhere,
          "train_limit and test_limit are not negative");
    return make_task(std::move(spec), *task, options);
  }
  const bool own = options.name == "text" || options.name == "idx" || options.name == "csv";
  if (!own) unknown_name(options.name);
  check(!options.path.empty(), kWhere, options.name,
        " needs path, the file to read (as a setting: data.path)");
  if (options.name == "idx") return open_idx(std::move(spec), options);
  if (options.name == "csv") return open_csv(std::move(spec), options);
  check_options(options, Modality::text);
  std::string bytes = read_file(options.path);
  spec.sha256 = sha256(bytes);
  return open_text(std::move(spec), gunzip(std::move(bytes), options.path), options.path, options);
}

}  // namespace kindred::data
