// The figures of sample_quality.h as rows, as JSON and as a table.
#include <array>
#include <cmath>
#include <cstdio>

#include "harness/json.h"
#include "harness/sample_quality.h"
#include "harness/text_table.h"

namespace kindred::harness {

using nlohmann::json;

namespace {
/// The figures of one struct in the order of its describe().
struct Collector {
  struct Entry {
    std::string name, ideal, reading;
    double value;
  };
  std::vector<Entry> entries = {};
  void operator()(const char* name, const double& value, const char* ideal, const char* reading) {
    entries.push_back({name, ideal, reading, value});
  }
};

void add_space(const SampleSpace& space, std::vector<SampleMetric>& rows) {
  Collector samples, real;
  TwoSampleFigures::describe(space.samples, samples);
  TwoSampleFigures::describe(space.real, real);
  for (std::size_t i = 0; i < samples.entries.size(); ++i) {
    const auto& [name, ideal, reading, value] = samples.entries[i];
    const double of_real = real.entries[i].value;
    rows.push_back({space.name, name, value, of_real, ideal, reading});
    if (name == "sliced_w2")
      rows.push_back({space.name, "sliced_w2_ratio", value / of_real, 1, "1", "over that of real"});
  }
}

std::string number(double v) {
  if (!std::isfinite(v)) return "-";
  char text[32];
  std::snprintf(text, sizeof text, std::abs(v) < 1e-3 && v != 0 ? "%.2e" : "%.4g", v);
  return text;
}

std::string histogram(const std::vector<int64_t>& counts) {
  std::string out;
  for (const int64_t c : counts) out += ' ' + std::to_string(c);
  return out;
}
}  // namespace

std::vector<SampleMetric> sample_metrics(const SampleQuality& q) {
  std::vector<SampleMetric> rows;
  for (const SampleSpace& space : q.spaces) add_space(space, rows);
  if (const auto& c = q.classifier)
    rows.push_back({"classes", "class_kl", c->divergence, c->divergence_real, "as real",
                    "KL of class counts, nats; large: some are missing"});
  rows.push_back({"values", "nearest_training", q.memory.median, q.memory_real.median, "as real",
                  "median distance to training; small: memorised"});
  rows.push_back({"values", "copies", q.memory.copies, q.memory_real.copies, "<= 0.01",
                  "share nearer to training than 99 % of held-out"});
  return rows;
}

json to_json(const SampleQuality& q) {
  json out = {{"data", q.data}, {"split", q.split}, {"n", q.count}};
  for (const SampleSpace& space : q.spaces) out["dimensions"][space.name] = space.dims;
  for (const SampleMetric& m : sample_metrics(q))
    out[m.space][m.name] = {
        {"value", m.value}, {"real", m.real}, {"ideal", m.ideal}, {"reading", m.reading}};
  if (const auto& c = q.classifier)
    out["classifier"] = {{"family", c->family},
                         {"accuracy", c->accuracy},
                         {"weights_sha256", c->weights_sha256},
                         {"histogram", c->samples},
                         {"histogram_real", c->real}};
  return out;
}

std::string sample_table(const SampleQuality& q) {
  std::vector<std::vector<std::string>> cells = {
      {"space", "metric", "samples", "real", "ideal", "how to read it"}};
  for (const SampleMetric& m : sample_metrics(q))
    cells.push_back({m.space, m.name, number(m.value), number(m.real), m.ideal, m.reading});
  std::string out = text_table(cells, {0, 1, 4, 5});
  if (const auto& c = q.classifier) {
    char accuracy[32];
    std::snprintf(accuracy, sizeof accuracy, "%.4f", c->accuracy);
    out += "\nclassifier  " + c->family + ", accuracy " + accuracy +
           " on held-out data, weights SHA-256\n            " + c->weights_sha256 +
           "\nclass counts of samples" + histogram(c->samples) + "\n                of real" +
           histogram(c->real) + '\n';
  }
  return out;
}

}  // namespace kindred::harness
