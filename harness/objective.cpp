// The registry of objectives, and the arithmetic of a Likelihood.
#include "harness/objective.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <sstream>

#include "harness/registry.h"

namespace kindred::harness {
namespace {
std::vector<ObjectiveEntry>& table() {
  static std::vector<ObjectiveEntry> entries;
  return entries;
}

double total(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}
}  // namespace

const char* name(Kind kind) {
  switch (kind) {
    case Kind::exact:
      return "exact";
    case Kind::bound:
      return "bound";
    case Kind::estimate:
      return "estimate";
  }
  fail(Fault::usage, "likelihood", "kind ", static_cast<int>(kind), " has no name");
}

double Likelihood::bits_per_symbol() const { return total(bits) / total(symbols); }

double Likelihood::metric(const std::string& name) const {
  for (const auto& [key, value] : metrics)
    if (key == name) return value;
  return std::numeric_limits<double>::quiet_NaN();
}

std::string Likelihood::unit_on(const data::DataSpec& spec) const {
  return unit.empty() ? spec.unit() : unit;
}

const char* score_key(const std::string& unit) {
  return unit.starts_with("bits") ? "bits" : "score";
}

// Of the ratio sum(bits) / sum(symbols); for elements of equal size it is sd / sqrt(n) of their
// means.
double Likelihood::std_error() const {
  const auto n = static_cast<double>(bits.size());
  if (n < 2) return std::numeric_limits<double>::quiet_NaN();
  const double ratio = bits_per_symbol();
  double squares = 0;
  for (std::size_t i = 0; i < bits.size(); ++i) {
    const double residual = bits[i] - ratio * symbols[i];
    squares += residual * residual;
  }
  return std::sqrt(squares * n / (n - 1)) / total(symbols);
}

DrawMeter::DrawMeter(const SampleOptions& options, int64_t chunk, int64_t each)
    : options_(options), expected_(each * ((options.count + chunk - 1) / chunk)) {}
void DrawMeter::evaluated(int64_t finished) {
  ++evaluations_;
  if (wanted()) options_.progress({evaluations_, expected_, finished, options_.count});
}
void DrawMeter::done() {
  if (wanted()) options_.progress({evaluations_, evaluations_, options_.count, options_.count});
}

std::string entropy_warning(const Likelihood& l, const data::DataSpec& spec) {
  constexpr double kErrors = 5;
  if (!spec.entropy_bits || l.unit_on(spec) != spec.unit()) return "";
  const double below = *spec.entropy_bits - l.bits_per_symbol();
  if (!(below > kErrors * l.std_error() + 1e-6)) return "";
  std::ostringstream text;
  text << l.bits_per_symbol() << ' ' << spec.unit() << " is below the entropy of " << spec.name
       << ", " << *spec.entropy_bits
       << ", which no model can reach: it sees what it is to predict (a causal backbone that is "
          "not), or its likelihood is wrong";
  return text.str();
}

Likelihood blocked_likelihood(std::span<const double> nats, int64_t blocks) {
  const auto n = static_cast<int64_t>(nats.size());
  check(n > 0 && blocks > 0, "likelihood", n, " losses in ", blocks, " blocks");
  blocks = std::min(blocks, n);
  Likelihood result;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t first = b * n / blocks, last = (b + 1) * n / blocks;
    double sum = 0;
    for (int64_t i = first; i < last; ++i) sum += nats[i];
    result.bits.push_back(sum / std::log(2.0));
    result.symbols.push_back(static_cast<double>(last - first));
  }
  return result;
}

Context scoring_context(const LikelihoodOptions& options) {
  Context context;
  context.rate = options.rate;
  return context;
}

void Objective::check_parts(int64_t) const {
  fail(Fault::usage, "train.chunks",
       "this objective sees its sequences whole; ar can train in chunks");
}

Tensor Objective::loss_part(const data::Batch&, const Rng&, int64_t, int64_t parts, State&) const {
  check_parts(parts);
  fail(Fault::usage, "train.chunks", "this objective has no loss of ", parts, " parts");
}

Tensor Objective::predict(const data::Batch&, const LikelihoodOptions&) const {
  fail(Fault::usage, "predict",
       "this model predicts no targets; classify and forecast do. Models of the data "
       "themselves draw: kindred sample");
}

Tensor Objective::features(const data::Batch&, const LikelihoodOptions&) const {
  fail(Fault::usage, "features",
       "this model has no features of its elements; classifiers have (classify/BACKBONE)");
}

Parity Objective::parity(const data::Batch&) const {
  fail(Fault::usage, "parity", "this objective sees its elements whole and has no single steps");
}

double Objective::expected_initial_loss() const { return std::numeric_limits<double>::quiet_NaN(); }

void register_objective(ObjectiveEntry entry) { add_entry(table(), std::move(entry), "objective"); }
const ObjectiveEntry& find_objective(const std::string& name) {
  return find_entry(table(), name, "objective");
}
const std::vector<ObjectiveEntry>& objectives() { return table(); }

}  // namespace kindred::harness
