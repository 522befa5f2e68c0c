// The figures of sample_quality.h as JSON and as a table.
#include <array>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "harness/sample_quality.h"
#include "harness/text_table.h"

namespace kindred::harness {

using nlohmann::json;

namespace {
json figure(double value, double real, const std::string& ideal, const std::string& reading) {
  return {{"value", value}, {"real", real}, {"ideal", ideal}, {"reading", reading}};
}

/// The figures of both sets side by side, in the order of describe().
struct Collector {
  std::vector<double> values;
  std::vector<std::array<std::string, 3>> words;  ///< name, ideal, reading
  void operator()(const char* name, const double& value, const char* ideal, const char* reading) {
    values.push_back(value);
    words.push_back({name, ideal, reading});
  }
};

json to_json(const SampleSpace& space) {
  Collector samples, real;
  TwoSampleFigures::describe(space.samples, samples);
  TwoSampleFigures::describe(space.real, real);
  json out = {{"dimensions", space.dims}, {"figures", json::array()}};
  for (std::size_t i = 0; i < samples.values.size(); ++i) {
    const auto& [name, ideal, reading] = samples.words[i];
    json row = figure(samples.values[i], real.values[i], ideal, reading);
    row["name"] = name;
    out["figures"].push_back(std::move(row));
    if (name != "sliced_w2") continue;
    row = figure(samples.values[i] / real.values[i], 1, "1", "over that of real elements");
    row["name"] = "sliced_w2_ratio";
    out["figures"].push_back(std::move(row));
  }
  return out;
}

std::string number(const json& value) {
  if (value.is_null()) return "-";
  const double v = value.get<double>();
  char text[32];
  std::snprintf(text, sizeof text, std::abs(v) < 1e-3 && v != 0 ? "%.2e" : "%.4g", v);
  return text;
}

std::string histogram(const json& counts) {
  std::string out;
  for (const json& c : counts) out += ' ' + std::to_string(c.get<int64_t>());
  return out;
}
}  // namespace

json to_json(const SampleQuality& q) {
  json out = {{"family", q.family}, {"data", q.data},         {"split", q.split},
              {"n", q.count},       {"training", q.training}, {"spaces", json::object()}};
  for (const SampleSpace& space : q.spaces) out["spaces"][space.name] = to_json(space);
  json memory = json::array();
  memory.push_back(figure(q.memory.median, q.memory_real.median, "as real",
                          "median distance to training; far below real: memorised"));
  memory.back()["name"] = "nearest_training";
  memory.push_back(figure(q.memory.copies, q.memory_real.copies, "<= 0.01",
                          "share nearer to training than 99% of held-out"));
  memory.back()["name"] = "copies";
  out["memorisation"] = {{"figures", memory}};
  if (!q.classifier) return out;
  const ClassifierFigures& c = *q.classifier;
  json divergence = figure(c.divergence, c.divergence_real, "as real",
                           "KL of class histograms, nats; large: classes are missing");
  divergence["name"] = "class_kl";
  out["classifier"] = {
      {"family", c.family},     {"accuracy", c.accuracy},   {"weights_sha256", c.weights_sha256},
      {"histogram", c.samples}, {"histogram_real", c.real}, {"figures", json::array({divergence})}};
  return out;
}

std::string sample_table(const json& quality) {
  std::vector<std::vector<std::string>> cells = {
      {"space", "metric", "samples", "real", "ideal", "how to read it"}};
  const auto add = [&](const std::string& space, const json& figures) {
    for (const json& f : figures["figures"])
      cells.push_back(
          {space, f["name"], number(f["value"]), number(f["real"]), f["ideal"], f["reading"]});
  };
  for (const char* space : {"values", "features"})
    if (quality["spaces"].contains(space)) add(space, quality["spaces"][space]);
  if (quality.contains("classifier")) add("classes", quality["classifier"]);
  add("values", quality["memorisation"]);
  std::string out = text_table(cells, {0, 1, 4, 5});
  if (!quality.contains("classifier")) return out;
  const json& c = quality["classifier"];
  char line[128];
  std::snprintf(line, sizeof line,
                "classifier    %s, accuracy %.4f on held-out data, weights SHA-256\n",
                c["family"].get<std::string>().c_str(), c["accuracy"].get<double>());
  return out + line + "              " + c["weights_sha256"].get<std::string>() +
         "\nclasses       samples" + histogram(c["histogram"]) + "\n              real   " +
         histogram(c["histogram_real"]) + '\n';
}

}  // namespace kindred::harness
