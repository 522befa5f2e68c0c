#include "harness/compare.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <memory>

#include "autodiff/parallel.h"
#include "data/alphabet.h"
#include "harness/atomic_file.h"
#include "harness/baselines.h"
#include "harness/clock.h"
#include "harness/json.h"
#include "harness/manifest.h"
#include "harness/ngram.h"
#include "harness/picture.h"
#include "harness/result_folder.h"
#include "harness/sha256.h"
#include "harness/text_list.h"

namespace kindred::harness {

using nlohmann::json;
namespace fs = std::filesystem;

namespace {

/// Bits of elements stand under "bits" and "element_bits", other units under "score" and
/// "element_scores".
void put_likelihood(json& row, const Likelihood& l, const data::DataSpec& spec) {
  const std::string unit = l.unit_on(spec), key = score_key(unit);
  row["kind"] = name(l.kind);
  row["unit"] = unit;
  row[key] = l.bits_per_symbol();
  row["std_error"] = l.std_error();
  for (const auto& [metric, value] : l.metrics) row["metrics"][metric] = value;
  for (const auto& [metric, kind] : l.metric_kinds) row["metric_kinds"][metric] = name(kind);
  row["note"] = l.note;
  row["evaluations"] = l.evaluations;
  json elements = json::array(), symbols = json::array();
  for (double b : l.bits) elements.push_back(b);
  for (double n : l.symbols) symbols.push_back(n);
  row[key == "bits" ? "element_bits" : "element_scores"] = std::move(elements);
  row["element_symbols"] = std::move(symbols);
}

/// What all rows of one comparison share.
struct Shared {
  std::shared_ptr<const data::Dataset> data;
  data::Split split;
  EvalOptions eval;
  CompareOptions options;
  const CompareControl& control;
  const int threads = kindred::threads();  ///< of families that name none
  std::string unit;                        ///< of the families' scores
  bool draws = false;                      ///< the families have samples

  const data::DataSpec& spec() const { return data->spec(); }
  bool text() const { return spec().modality == data::Modality::text; }
  /// The scores are those of the elements themselves, as the baselines', not of their labels.
  bool of_elements() const {
    return unit == spec().unit() && spec().modality != data::Modality::sequence;
  }
  /// Points of one or of more than two coordinates have no picture.
  bool pictures() const {
    return options.samples > 0 && draws && !text() &&
           (spec().modality == data::Modality::image || spec().length == 2);
  }
  void say(const std::string& line) const {
    if (!control.quiet) std::cout << line << std::endl;
  }
};

/// Errors of an experiment that would otherwise show after minutes of training, or not at all.
void check_options(const Shared& shared) {
  const CompareOptions& options = shared.options;
  for (const std::string& b : split_list(options.baselines)) {
    const bool known = !shared.of_elements() ? b == "constant"
                       : shared.text()       ? b == "ngram"
                                       : b == "uniform" || b == "histogram" || b == "context2";
    check(known, "compare", "compare.baselines: \"", b, "\" is none for ", shared.unit, " on ",
          shared.spec().name, "; choose from ",
          !shared.of_elements() ? "constant"
          : shared.text()       ? "ngram"
                                : "uniform, histogram, context2");
  }
  check(options.samples >= 0, "compare", "compare.samples = ", options.samples,
        " is negative; 0 draws none");
  check(options.ngram_order >= 1, "compare", "compare.ngram_order = ", options.ngram_order,
        "; at least 1");
}

json image_baseline(const std::string& baseline, const Shared& shared) {
  const double start = now();
  const auto model = count_model(baseline, *shared.data);
  json row = {{"name", baseline},
              {"type", "baseline"},
              {"family", model->summary()},
              {"parameters", model->parameters()},
              {"seconds", now() - start},
              {"train_flops", 0},
              {"examples", baseline == "uniform" ? 0 : shared.data->size(data::Split::train)}};
  put_likelihood(row, score(*model, *shared.data, shared.split, shared.eval.limit), shared.spec());
  if (shared.pictures()) {
    const double before = now();
    const Tensor drawn =
        sample(*model, shared.spec(), Rng(0).split(baseline), shared.options.samples);
    row["sample_seconds"] = (now() - before) / static_cast<double>(shared.options.samples);
    const std::string file = "samples/" + baseline + ".png";
    write_sample_picture(shared.control.out + "/" + file, drawn, shared.spec());
    row["samples"] = file;
  }
  return row;
}

json constant_row(const Shared& shared) {
  const double start = now();
  json row = {{"name", "constant"},
              {"type", "baseline"},
              {"family", "the same prediction for every element"},
              {"train_flops", 0}};
  put_likelihood(row, constant_baseline(*shared.data, shared.split, shared.eval.limit),
                 shared.spec());
  row["seconds"] = now() - start;
  return row;
}

/// One row an order; contexts restart like the windows of the models, so that blocks can be paired.
std::vector<json> ngram_baselines(const Shared& shared) {
  const double start = now();
  const auto stream = shared.data->stream(shared.split);
  const int64_t window = shared.eval.lane == "reset" ? shared.spec().length : 0;
  const auto orders = ngram_losses(shared.data->stream(data::Split::train), stream,
                                   shared.spec().levels, shared.options.ngram_order, window);
  std::vector<json> rows;
  for (const NgramLosses& order : orders) {
    json row = {{"name", std::to_string(order.order) + "-gram"},
                {"type", "baseline"},
                {"family", "Witten-Bell counts"},
                {"seconds", (now() - start) / static_cast<double>(orders.size())},
                {"train_flops", 0},
                {"examples", shared.data->size(data::Split::train) / shared.spec().length}};
    // Models predict every symbol but the first one of the stream.
    std::span<const double> nats(order.nats);
    if (shared.eval.limit > 0) {
      const auto limit = static_cast<std::size_t>(shared.eval.limit);
      nats = nats.first(std::min(nats.size(), limit + 1));
    }
    put_likelihood(row, blocked_likelihood(nats.subspan(1)), shared.spec());
    row["note"] = window ? "context restarts every " + std::to_string(window) + " symbols"
                         : "context carried";
    rows.push_back(std::move(row));
  }
  return rows;
}

void draw_samples(json& row, Run& run, const std::string& who, const Shared& shared) {
  SampleOptions options;
  options.count =
      shared.text() ? std::min<int64_t>(4, shared.options.samples) : shared.options.samples;
  if (shared.text()) options.length = 300;
  const double start = now();
  const Tensor drawn = run.sample(options, 0);
  row["sample_seconds"] = (now() - start) / static_cast<double>(options.count);
  if (shared.text()) {
    const data::Alphabet alphabet = data::Alphabet::of(shared.spec());
    row["text_sample"] =
        alphabet.decode(drawn.span<int32_t>().first(static_cast<std::size_t>(drawn.dim(1))));
  } else if (shared.pictures()) {
    const std::string file = "samples/" + who + ".png";
    write_sample_picture(shared.control.out + "/" + file, drawn, shared.spec());
    row["samples"] = file;
  }
}

json family_row(const std::string& who, const Settings& settings, const Shared& shared,
                bool& interrupted) {
  set_threads(shared.threads);  // a run that names none does not inherit those of the one before
  Run run(settings, shared.data);
  const ResultFolder folder(shared.control.out + "/runs/" + who, run.resolved(),
                            {.who = who,
                             .progress = shared.control.progress,
                             .fresh = shared.control.fresh,
                             .argv = shared.control.argv,
                             .say = [&](const std::string& line) { shared.say(line); }});
  if (json row = folder.finished();
      !row.is_null() && row.value("sample_count", int64_t{0}) == shared.options.samples &&
      (!row.contains("samples") ||
       fs::exists(shared.control.out + "/" + row["samples"].get<std::string>()))) {
    shared.say("  " + who + ": finished before, result reused (--fresh trains again)");
    return row;
  }
  json row = {{"name", who}, {"type", "family"}, {"family", run.family().str()}};
  if (!folder.train(run, row)) {
    interrupted = true;
    return {};
  }
  const double start = now();
  put_likelihood(row, score(run, shared.split, who, shared.control.progress), shared.spec());
  row["eval_seconds"] = now() - start;
  row["sample_count"] = shared.options.samples;
  if (shared.options.samples > 0 && run.objective().draws()) draw_samples(row, run, who, shared);
  folder.keep(row);
  return row;
}

}  // namespace

void check_eval_options(const Run& run) {
  const EvalOptions& eval = run.eval_options();
  run.eval_split();
  check(eval.batch > 0, "config", "eval.batch must be positive, is ", eval.batch);
  check(eval.limit >= 0, "config", "eval.limit = ", eval.limit, " is negative; 0 scores all");
  const std::string steps = eval.lane.starts_with("stride:") ? eval.lane.substr(7) : "";
  const bool number = !steps.empty() && steps.size() < 10 &&
                      steps.find_first_not_of("0123456789") == std::string::npos;
  const int64_t window = run.spec().length, stride = number ? std::stoll(steps) : 0;
  check(eval.lane == "reset" || (stride >= 1 && stride <= window), "config", "eval.lane = \"",
        eval.lane, "\"; choose reset or stride:S with S from 1 to the window, ", window);
}

std::vector<std::string> compared_families(const Settings& settings) {
  check(!settings.has("paper.title"), "compare",
        "this file is an experiment with published figures; run it with `kindred reproduce`");
  const auto names = split_list(settings.get("compare.families", CompareOptions().families));
  check(!names.empty(), "compare", "compare.families is empty");
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string& who = names[i];
    check(std::find(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(i), who) ==
              names.begin() + static_cast<std::ptrdiff_t>(i),
          "compare", "compare.families names ", who, " twice");
    const bool plain = std::all_of(who.begin(), who.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '-' || c == '_';
    });
    check(plain, "compare", "compare.families: \"", who,
          "\" cannot name a section and a folder; choose letters, digits, - or _, and "
          "write run.family = ",
          who, " into its section");
  }
  return names;
}

json compare(const Settings& given, const CompareControl& control, bool& interrupted) {
  interrupted = false;
  Shared shared{.data = nullptr,
                .split = data::Split::test,
                .eval = {},
                .options = {},
                .control = control,
                .unit = {}};
  Settings own = given.section("compare");
  own.read("", shared.options);
  own.finish();
  const std::vector<std::string> families = compared_families(given);

  // Every family's settings: the common ones, then its own section. All are built once before any
  // is trained, so that a mistake in the last does not cost the time of the first.
  std::vector<std::pair<std::string, Settings>> runs;
  for (const std::string& who : families) {
    Settings settings = given.without({"compare"});
    for (const std::string& other : families) settings = settings.without({other});
    for (const char* shared_section : {"data", "eval"})
      check(given.section(who).section(shared_section).text().empty(), "compare", "[", who,
            "] sets ", shared_section,
            ".*; the data and their scoring are the same for all families, set them in [",
            shared_section, "]");
    settings.merge(given.section(who));
    if (!settings.has("run.family")) settings.set("run.family", who, "compare.families");
    runs.emplace_back(who, std::move(settings));
  }
  std::string resolved_all;
  for (const auto& [who, settings] : runs) {
    Run probe(settings, shared.data);
    check_eval_options(probe);
    if (!shared.data) {
      shared.data = std::shared_ptr<const data::Dataset>(probe.shared_dataset());
      shared.split = probe.eval_split();
      shared.eval = probe.eval_options();
    }
    const std::string own_unit = probe.objective().score_unit(),
                      unit = own_unit.empty() ? probe.spec().unit() : own_unit;
    check(shared.unit.empty() || shared.unit == unit, "compare", who, " is scored in ", unit,
          " and ", families.front(), " in ", shared.unit, "; compare objectives of one kind");
    shared.unit = unit;
    shared.draws = shared.draws || probe.objective().draws();
    resolved_all += probe.resolved();
  }
  check_options(shared);

  fs::create_directories(control.out + "/samples");
  fs::create_directories(control.out + "/runs");
  const data::DataSpec& spec = shared.spec();
  // The first symbol of a text is context only.
  const int64_t held_out = shared.data->size(shared.split) - (shared.text() ? 1 : 0);
  const int64_t scored = shared.eval.limit > 0 ? std::min(shared.eval.limit, held_out) : held_out;
  shared.say(shared.options.title + "\n  data: " + spec.name + ", " +
             std::to_string(spec.train_size) + " training, " + std::to_string(scored) +
             " held-out " + (shared.text() ? "symbols" : "elements") + " scored");

  json results = {{"format", "kindred-comparison"},
                  {"version", 1},
                  {"title", shared.options.title},
                  {"question", shared.options.question},
                  {"created_utc", utc_now()},
                  {"command", control.command},
                  {"unit", shared.unit},
                  {"config", given.text()},
                  {"data",
                   {{"name", spec.name},
                    {"modality", data::name(spec.modality)},
                    {"levels", spec.levels},
                    {"length", spec.length},
                    {"height", spec.height},
                    {"width", spec.width},
                    {"train", spec.train_size},
                    {"scored", scored},
                    {"split", data::name(shared.split)},
                    {"sha256", spec.sha256}}}};
  json& rows = results["rows"] = json::array();
  if (spec.entropy_bits && shared.unit == spec.unit()) {
    results["data"]["entropy_bits"] = *spec.entropy_bits;
    rows.push_back({{"name", "true entropy"},
                    {"type", "entropy"},
                    {"family", "the source itself"},
                    {"kind", "exact"},
                    {"unit", shared.unit},
                    {"bits", *spec.entropy_bits},
                    {"std_error", 0},
                    {"note", "no model can be below it in expectation"}});
  }
  if (shared.pictures()) {
    const data::Batch real =
        shared.data->elements(shared.split, 0, std::min(held_out, shared.options.samples));
    write_sample_picture(control.out + "/samples/real.png",
                         real.symbols.defined() ? real.symbols : real.values, spec);
    results["real"] = "samples/real.png";
  }
  for (const std::string& baseline : split_list(shared.options.baselines)) {
    if (baseline == "ngram") {
      check(shared.text(), "compare", "the ngram baseline needs text");
      for (json& row : ngram_baselines(shared)) rows.push_back(std::move(row));
    } else if (baseline == "constant") {
      rows.push_back(constant_row(shared));
    } else {
      rows.push_back(image_baseline(baseline, shared));
    }
  }
  for (const auto& [who, settings] : runs) {
    json row = family_row(who, settings, shared, interrupted);
    if (interrupted) return results;
    rows.push_back(std::move(row));
  }

  json pairs = json::array();
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (std::size_t k = i + 1; k < rows.size(); ++k)
      if (rows[i]["type"] == "family" && rows[k]["type"] == "family")
        pairs.push_back(paired_verdict(rows[i], rows[k]));
  results["pairs"] = std::move(pairs);
  ManifestInput manifest;
  manifest.argv = control.argv;
  manifest.data_name = spec.name;
  manifest.data_sha256 = spec.sha256;
  manifest.config_sha256 = sha256_hex(resolved_all);
  results["manifest"] = json::parse(make_manifest(manifest));
  atomic_write(control.out + "/results.json", json_text(results));
  return results;
}

double score_of(const json& row) {
  return (row.contains("bits") ? row["bits"] : row["score"]).get<double>();
}

json paired_verdict(const json& a, const json& b) {
  json out = {{"a", a["name"]}, {"b", b["name"]}};
  if (a.contains("unit") && b.contains("unit") && a["unit"] != b["unit"]) {
    out["verdict"] = "not comparable: scored in different units";
    return out;
  }
  const char* elements = a.contains("element_bits") ? "element_bits" : "element_scores";
  const auto &bits_a = a[elements], &bits_b = b[elements];
  const auto &n_a = a["element_symbols"], &n_b = b["element_symbols"];
  if (bits_a.size() != bits_b.size() || n_a != n_b) {
    out["verdict"] = "not comparable: scored on different elements";
    return out;
  }
  const auto n = static_cast<double>(bits_a.size());
  double symbols = 0, mean = 0, square = 0;
  for (std::size_t i = 0; i < n_a.size(); ++i) symbols += n_a[i].get<double>();
  for (std::size_t i = 0; i < bits_a.size(); ++i)
    mean += (bits_a[i].get<double>() - bits_b[i].get<double>()) / symbols;
  for (std::size_t i = 0; i < bits_a.size(); ++i) {
    const double residual =
        bits_a[i].get<double>() - bits_b[i].get<double>() - mean * n_a[i].get<double>();
    square += residual * residual;
  }
  const double error = n > 1 ? std::sqrt(square * n / (n - 1)) / symbols : INFINITY;
  out["difference"] = mean;
  out["std_error"] = std::isfinite(error) ? json(error) : json(nullptr);
  // A difference beyond two standard errors counts; an upper bound that lies above settles nothing.
  const std::string lower = mean < 0 ? "a" : "b";
  const json& loser = mean < 0 ? b : a;
  if (!(std::abs(mean) > 2 * error)) {
    out["verdict"] = "unresolved";
  } else if (loser["kind"] != "exact") {
    out["verdict"] = "unresolved (bound)";
  } else {
    out["verdict"] = lower == "a" ? "better" : "worse";
  }
  return out;
}

}  // namespace kindred::harness
