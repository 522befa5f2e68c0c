// kindred predict: what a supervised model says of held-out elements, beside the truth. Classes: a
// confusion matrix and the surest mistakes, as pictures for images. Real targets: curves or a
// scatter plot, and errors. Both: a table of every prediction as CSV.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>

#include "apps/command.h"
#include "apps/plot.h"
#include "apps/run_folder.h"
#include "harness/atomic_file.h"
#include "harness/classify.h"
#include "harness/json.h"
#include "harness/picture.h"
#include "harness/predictions.h"
#include "harness/text_table.h"

namespace kindred::apps {

using harness::ClassPrediction;
using harness::RealPrediction;
using nlohmann::json;

namespace {

constexpr int64_t kPanels = 8;         ///< elements in a picture of curves
constexpr int64_t kCurves = 3;         ///< channels drawn of each
constexpr int64_t kMarked = 60;        ///< longer curves have no marks
constexpr int64_t kWidestMatrix = 20;  ///< classes of a confusion matrix on a terminal

std::string number(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

/// Elements [first, first + count) of the held-out split in batches, with their numbers.
template <class Use>
void for_elements(harness::Run& run, int64_t first, int64_t count, const Use& use) {
  const int64_t batch = run.eval_options().batch;
  check(batch >= 1, "predict", "eval.batch is ", batch);
  for (int64_t at = first; at < first + count; at += batch)
    use(run.dataset().elements(run.eval_split(), at, std::min(batch, first + count - at)), at);
}

json to_json(const std::vector<ClassPrediction>& rows) {
  json out = json::array();
  for (const ClassPrediction& r : rows)
    out.push_back({{"element", r.element},
                   {"target", r.target},
                   {"true", r.truth},
                   {"predicted", r.guess},
                   {"p", r.p},
                   {"p_true", r.p_truth}});
  return out;
}

json to_json(const std::vector<RealPrediction>& rows) {
  json out = json::array();
  for (const RealPrediction& r : rows)
    out.push_back({{"element", r.element},
                   {"target", r.target},
                   {"channel", r.channel},
                   {"true", r.truth},
                   {"predicted", r.guess}});
  return out;
}

std::string to_csv(const std::vector<ClassPrediction>& rows) {
  std::string out = "element,target,true,predicted,p,p_true\n";
  for (const ClassPrediction& r : rows)
    out += std::to_string(r.element) + ',' + std::to_string(r.target) + ',' +
           std::to_string(r.truth) + ',' + std::to_string(r.guess) + ',' + number("%.6g", r.p) +
           ',' + number("%.6g", r.p_truth) + '\n';
  return out;
}

std::string to_csv(const std::vector<RealPrediction>& rows) {
  std::string out = "element,target,channel,true,predicted\n";
  for (const RealPrediction& r : rows)
    out += std::to_string(r.element) + ',' + std::to_string(r.target) + ',' +
           std::to_string(r.channel) + ',' + number("%.9g", r.truth) + ',' +
           number("%.9g", r.guess) + '\n';
  return out;
}

void print_matrix(const std::vector<int64_t>& counts, int64_t K) {
  std::vector<std::vector<std::string>> cells(1, {"true \\ predicted"});
  for (int64_t k = 0; k < K; ++k) cells[0].push_back(std::to_string(k));
  cells[0].emplace_back("right");
  for (int64_t t = 0; t < K; ++t) {
    const auto row = counts.begin() + t * K;
    int64_t all = 0;
    std::vector<std::string> line = {std::to_string(t)};
    for (int64_t k = 0; k < K; ++k) {
      all += row[k];
      line.push_back(row[k] == 0 ? "." : std::to_string(row[k]));
    }
    line.push_back(
        all == 0 ? "-"
                 : number("%.1f%%", 100 * static_cast<double>(row[t]) / static_cast<double>(all)));
    cells.push_back(std::move(line));
  }
  std::cout << '\n' << harness::text_table(cells, {0});
}

void print_mistakes(const std::vector<ClassPrediction>& mistakes, int64_t targets) {
  if (mistakes.empty()) return;
  std::vector<std::vector<std::string>> cells(
      1, {"element", "target", "true", "predicted", "p", "p of true"});
  for (const ClassPrediction& r : mistakes)
    cells.push_back({std::to_string(r.element), std::to_string(r.target), std::to_string(r.truth),
                     std::to_string(r.guess), number("%.4f", r.p), number("%.4f", r.p_truth)});
  if (targets == 1)
    for (auto& row : cells) row.erase(row.begin() + 1);
  std::cout << "\nmistakes that the model was surest of\n" << harness::text_table(cells, {});
}

/// The elements of the mistakes, one a row, for a picture.
Tensor pictures_of(harness::Run& run, const std::vector<ClassPrediction>& mistakes) {
  const int64_t n = run.spec().length;
  Tensor out = Tensor::empty({static_cast<int64_t>(mistakes.size()), n}, DType::i32);
  for (std::size_t i = 0; i < mistakes.size(); ++i) {
    const data::Batch one = run.dataset().elements(run.eval_split(), mistakes[i].element, 1);
    std::copy_n(one.symbols.data<int32_t>(), n,
                out.mutable_data<int32_t>() + static_cast<int64_t>(i) * n);
  }
  return out;
}

struct Wanted {
  int64_t first = 0, count = 0;
  std::string csv, out;
};

void write_table(const Wanted& wanted, const std::string& csv) {
  if (wanted.csv.empty()) return;
  harness::atomic_write(wanted.csv, csv);
  std::cerr << "wrote " << wanted.csv << '\n';
}

int classes(harness::Run& run, const Wanted& wanted, int64_t listed, bool as_json) {
  const data::DataSpec& spec = run.spec();
  check(wanted.out.empty() || spec.modality == data::Modality::image, "predict",
        "--out draws the mistakes of images; ", spec.name, " are sequences: take --csv");
  std::vector<ClassPrediction> rows;
  for_elements(run, wanted.first, wanted.count, [&](const data::Batch& batch, int64_t first) {
    harness::add_class_predictions(run.predict(batch), harness::class_targets(batch, spec), first,
                                   rows);
  });
  const std::vector<int64_t> counts = harness::confusion(rows, spec.classes);
  const std::vector<ClassPrediction> mistakes = harness::surest_mistakes(rows, listed);
  const auto right =
      std::count_if(rows.begin(), rows.end(), [](const ClassPrediction& r) { return r.right(); });
  const double accuracy =
      static_cast<double>(right) / static_cast<double>(std::max<std::size_t>(1, rows.size()));
  write_table(wanted, to_csv(rows));
  if (!wanted.out.empty() && mistakes.empty()) {
    std::cerr << "no mistakes to draw: " << wanted.out << " is not written\n";
  } else if (!wanted.out.empty()) {
    harness::write_sample_picture(wanted.out, pictures_of(run, mistakes), spec);
    std::cerr << "wrote " << wanted.out << ": the mistakes below, row by row\n";
  }
  if (as_json) {
    json matrix = json::array();
    for (int64_t t = 0; t < spec.classes; ++t)
      matrix.push_back(std::vector<int64_t>(counts.begin() + t * spec.classes,
                                            counts.begin() + (t + 1) * spec.classes));
    std::cout << json{{"data", spec.name},
                      {"split", data::name(run.eval_split())},
                      {"accuracy", accuracy},
                      {"confusion", matrix},
                      {"surest_mistakes", to_json(mistakes)},
                      {"predictions", to_json(rows)}}
                     .dump()
              << '\n';
    return 0;
  }
  std::printf("%s on %s, %s split: %lld of %lld targets right, accuracy %.4f\n",
              run.family().str().c_str(), spec.name.c_str(), data::name(run.eval_split()),
              static_cast<long long>(right), static_cast<long long>(rows.size()), accuracy);
  std::fflush(stdout);
  if (spec.classes <= kWidestMatrix) print_matrix(counts, spec.classes);
  print_mistakes(mistakes, spec.targets);
  return 0;
}

/// Curves of one element over its targets, or over its channels if there is one target.
Plot curves_of(const std::vector<RealPrediction>& rows, const data::DataSpec& spec,
               std::size_t element) {
  const int64_t T = spec.targets, D = spec.target_channels;
  const bool over_channels = T == 1;
  const std::size_t first = element * static_cast<std::size_t>(T * D);
  Plot plot;
  plot.title = spec.name + ", element " + std::to_string(rows[first].element);
  plot.x_label = over_channels ? "channel" : "target";
  plot.y_label = "value";
  plot.linear = true;
  for (int64_t c = 0; c < (over_channels ? 1 : std::min(D, kCurves)); ++c) {
    const std::string of = over_channels || D == 1 ? "" : " " + std::to_string(c);
    const bool marks = T * D <= kMarked;
    Series truth{"true" + of, {}, {}, true, marks}, guess{"predicted" + of, {}, {}, true, marks};
    for (int64_t i = 0; i < (over_channels ? D : T); ++i) {
      const RealPrediction& r =
          rows[first + static_cast<std::size_t>(over_channels ? i : i * D + c)];
      for (Series* s : {&truth, &guess}) s->x.push_back(static_cast<double>(i));
      truth.y.push_back(r.truth);
      guess.y.push_back(r.guess);
    }
    plot.series.push_back(std::move(truth));
    plot.series.push_back(std::move(guess));
  }
  return plot;
}

/// One number an element: predicted against true.
Plot scatter_of(const std::vector<RealPrediction>& rows, const data::DataSpec& spec) {
  Series points{"elements", {}, {}, false, true}, equal{"predicted = true", {}, {}, true, false};
  for (const RealPrediction& r : rows) {
    points.x.push_back(r.truth);
    points.y.push_back(r.guess);
  }
  const auto [low, high] = std::minmax_element(points.x.begin(), points.x.end());
  equal.x = equal.y = {*low, *high};
  Plot plot{spec.name, "true", "predicted", {points, equal}};
  plot.linear = true;
  return plot;
}

int real_targets(harness::Run& run, const Wanted& wanted, bool as_json) {
  const data::DataSpec& spec = run.spec();
  std::vector<RealPrediction> rows;
  for_elements(run, wanted.first, wanted.count, [&](const data::Batch& batch, int64_t first) {
    harness::add_real_predictions(run.predict(batch), batch.targets, first, rows);
  });
  const auto numbers = static_cast<std::size_t>(spec.targets * spec.target_channels);
  write_table(wanted, to_csv(rows));
  if (!wanted.out.empty()) {
    std::vector<Plot> plots;
    if (numbers == 1)
      plots.push_back(scatter_of(rows, spec));
    else
      for (int64_t e = 0; e < std::min(wanted.count, kPanels); ++e)
        plots.push_back(curves_of(rows, spec, static_cast<std::size_t>(e)));
    harness::atomic_write(wanted.out, to_svg(plots));
    std::cerr << "wrote " << wanted.out << '\n';
  }
  if (as_json) {
    std::cout << json{{"data", spec.name},
                      {"split", data::name(run.eval_split())},
                      {"predictions", to_json(rows)}}
                     .dump()
              << '\n';
    return 0;
  }
  std::vector<std::vector<std::string>> cells(
      1, numbers == 1 ? std::vector<std::string>{"element", "true", "predicted", "error"}
                      : std::vector<std::string>{"element", "numbers", "rmse", "largest error"});
  for (std::size_t at = 0; at < rows.size(); at += numbers) {
    double squares = 0, most = 0;
    for (std::size_t i = at; i < at + numbers; ++i) {
      const double error = rows[i].guess - rows[i].truth;
      squares += error * error;
      most = std::max(most, std::abs(error));
    }
    const std::string element = std::to_string(rows[at].element);
    if (numbers == 1)
      cells.push_back({element, number("%.6g", rows[at].truth), number("%.6g", rows[at].guess),
                       number("%+.3g", rows[at].guess - rows[at].truth)});
    else
      cells.push_back({element, std::to_string(numbers),
                       number("%.4g", std::sqrt(squares / static_cast<double>(numbers))),
                       number("%.4g", most)});
  }
  std::cout << run.family().str() << " on " << spec.name << ", " << data::name(run.eval_split())
            << " split\n"
            << harness::text_table(cells, {});
  return 0;
}

/// The folder of an output file must be there, and its name say what is in it.
void check_output(const std::string& option, const std::string& path, const std::string& ending) {
  if (path.empty()) return;
  check(path.ends_with(ending), "predict", "--", option, ' ', path, ": the file is ",
        ending.substr(1), "; give it a name that ends in ", ending);
  const auto folder = std::filesystem::absolute(path).parent_path();
  if (!std::filesystem::is_directory(folder))
    fail(Fault::io, "predict", "--", option, ": there is no folder ", folder.string());
}

}  // namespace

int predict_command(int argc, char** argv) {
  CommandLine line("kindred predict RUN [--count N] [--csv FILE.csv] [--out FILE]",
                   "What a classify or forecast model says of held-out elements, beside the truth. "
                   "Classes: the\n"
                   "confusion matrix and the mistakes that the model was surest of; --out FILE.png "
                   "draws these, of\n"
                   "images. Real targets: the errors; --out FILE.svg plots predicted and true "
                   "values. --csv writes\n"
                   "every prediction. Settings of the run may be changed, as for eval.",
                   "  kindred predict runs/mnist --out mistakes.png --csv all.csv\n"
                   "  kindred predict runs/mackey --count 6 --out curves.svg\n"
                   "  kindred predict runs/strokes --set data.rate=2\n");
  add_trained_options(line);
  line.options().add_options()(
      "count,n", po::value<int64_t>()->default_value(0)->value_name("N"),
      "elements; 0 = those that eval scores, of real targets the first few")(
      "first", po::value<int64_t>()->default_value(0)->value_name("N"),
      "number of the first element")("mistakes",
                                     po::value<int64_t>()->default_value(10)->value_name("N"),
                                     "classes: mistakes to list and draw")(
      "csv", po::value<std::string>()->default_value("")->value_name("FILE"),
      "table of every prediction")(
      "out,o", po::value<std::string>()->default_value("")->value_name("FILE"),
      "mistakes as PNG (images with classes), curves as SVG (real targets)");
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  harness::Run run = load_trained(line);
  const data::DataSpec& spec = run.spec();
  const bool real = spec.target_channels > 0;
  const bool supervised =
      run.family().objective == "classify" || run.family().objective == "forecast";
  check(supervised, "predict", run.family().str(),
        " predicts no targets; classify and forecast do. To see what it ",
        "has learned: kindred sample");

  Wanted wanted{line.get<int64_t>("first"), line.get<int64_t>("count"),
                line.get<std::string>("csv"), line.get<std::string>("out")};
  check_output("csv", wanted.csv, ".csv");
  check_output("out", wanted.out, real ? ".svg" : ".png");
  const int64_t listed = line.get<int64_t>("mistakes");
  check(wanted.count >= 0, "predict", "--count is not negative");
  check(listed > 0, "predict", "--mistakes must be positive");
  check(!real || line.values()["mistakes"].defaulted(), "predict", "--mistakes is for classes");
  const int64_t size = run.dataset().size(run.eval_split());
  check(wanted.first >= 0 && wanted.first < size, "predict", "--first ", wanted.first, " of ", size,
        " elements");
  if (wanted.count == 0) {
    const int64_t few = spec.targets * spec.target_channels == 1 ? 20 : 4;
    wanted.count = real ? few : run.eval_options().limit > 0 ? run.eval_options().limit : size;
  }
  wanted.count = std::min(wanted.count, size - wanted.first);
  return real ? real_targets(run, wanted, line.json()) : classes(run, wanted, listed, line.json());
}

}  // namespace kindred::apps
