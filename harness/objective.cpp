// The registry of objectives, and the arithmetic of a Likelihood.
#include "harness/objective.h"

#include <cmath>
#include <limits>
#include <numeric>

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

// Of the ratio sum(bits) / sum(symbols); for elements of equal size it is sd / sqrt(n) of their means.
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

double Objective::expected_initial_loss() const { return std::numeric_limits<double>::quiet_NaN(); }

void register_objective(ObjectiveEntry entry) { add_entry(table(), std::move(entry), "objective"); }
const ObjectiveEntry& find_objective(const std::string& name) {
  return find_entry(table(), name, "objective");
}
const std::vector<ObjectiveEntry>& objectives() { return table(); }

}  // namespace kindred::harness
