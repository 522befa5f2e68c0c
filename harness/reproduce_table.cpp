// What an experiment gave, for the terminal and for docs/reproduced.md.
#include <cmath>
#include <cstdio>
#include <set>

#include "harness/json.h"
#include "harness/reproduce.h"
#include "harness/text_table.h"

namespace kindred::harness {

using nlohmann::json;

std::string table_number(const json& value) {
  if (value.is_null()) return "-";
  const double v = value.get<double>();
  char text[48];
  if (std::abs(v) < 1e4 || std::abs(v) >= 1e12) {
    std::snprintf(text, sizeof text, "%.4g", v);
    return text;
  }
  std::snprintf(text, sizeof text, "%.0f", v);  // with a comma before every three digits
  std::string digits = text;
  const std::size_t sign = digits[0] == '-' ? 1 : 0;
  for (std::size_t at = digits.size(); at > sign + 3;) digits.insert(at -= 3, ",");
  return digits;
}

namespace {

std::string ours(const json& figure) {
  std::string text = figure["value"].is_null() ? "not finite" : table_number(figure["value"]);
  if (!figure["std_error"].is_null()) {
    char error[32];
    std::snprintf(error, sizeof error, " +- %.2g", figure["std_error"].get<double>());
    text += error;
  }
  const std::string kind = figure.value("kind", "");
  return kind.empty() ? text : text + " (" + kind + ")";
}

std::string band(const json& figure) {
  const json &low = figure["low"], &high = figure["high"];
  if (low.is_null() && high.is_null()) return "-";
  if (low.is_null()) return "at most " + table_number(high);
  if (high.is_null()) return "at least " + table_number(low);
  if (low == high) return table_number(low);
  return table_number(low) + " to " + table_number(high);
}

std::string heading(const json& figure) {
  const std::string unit = figure["unit"];
  return figure["what"].get<std::string>() + (unit.empty() ? "" : ", " + unit);
}

std::string duration(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, seconds < 120 ? "%.1f s" : "%.0f min",
                seconds < 120 ? seconds : seconds / 60);
  return text;
}

/// "3 of 4 figures in their bands"; figures without a band do not count.
std::string score_line(const json& results) {
  std::size_t inside = 0, banded = 0;
  for (const json& figure : results["figures"]) {
    if (figure["verdict"] == "no band") continue;
    ++banded;
    inside += figure["inside"].get<bool>();
  }
  return std::to_string(inside) + " of " + std::to_string(banded) + " figures in their bands";
}

/// ", 1 thread", ", 1 or 2 threads": of the work, which may differ from variant to variant.
std::string threads_line(const json& results) {
  std::set<int> counts;
  for (const json& run : results["runs"])
    if (run.contains("threads")) counts.insert(run["threads"].get<int>());
  std::string text;
  for (const int n : counts) text += (text.empty() ? ", " : " or ") + std::to_string(n);
  return text.empty() ? "" : text + (text == ", 1" ? " thread" : " threads");
}

std::string seeds_line(const json& results) {
  const std::size_t seeds = results["seeds"].size();
  if (seeds == 1) return "one seed";
  return "mean and standard error of " + std::to_string(seeds) + " seeds";
}

}  // namespace

std::string reproduction_table(const json& results) {
  std::vector<std::vector<std::string>> cells = {{"figure", "paper", "ours", "band", "verdict"}};
  for (const json& figure : results["figures"])
    cells.push_back({heading(figure), table_number(figure["paper"]), ours(figure), band(figure),
                     figure["verdict"].get<std::string>()});
  std::string out = text_table(cells, {0, 4});
  out += score_line(results) + ", " + duration(results["seconds"].get<double>());
  if (!results["seeds"].empty()) out += ", " + seeds_line(results);
  out += '\n';
  for (const json& change : results["changed"])
    out += "not the published experiment: " + change.get<std::string>() + " was set\n";
  return out;
}

std::string reproduction_page(const std::vector<json>& all, const std::string& command) {
  std::string out =
      "# Reproduced figures\n\n"
      "Published figures beside those of this program, from the results of `kindred reproduce`. "
      "The "
      "bands stand in the experiments' files,\nwhich also say what was tried before; `kindred "
      "reproduce --list` names the experiments. This page was made by\n\n```\n" +
      command + "\n```\n";
  for (const json& r : all) {
    out += "\n## " + r["title"].get<std::string>() + "\n\n" + r["citation"].get<std::string>() +
           ". Claim: " + r["claim"].get<std::string>() +
           "\n\nScale: " + r["scale"].get<std::string>() +
           "\n\n| figure | paper | ours | band | verdict |\n"
           "|---|---|---|---|---|\n";
    for (const json& figure : r["figures"]) {
      const std::string source = figure["paper_source"];
      out += "| " + heading(figure) + " | " + table_number(figure["paper"]) +
             (source.empty() ? "" : " (" + source + ")") + " | " + ours(figure) + " | " +
             band(figure) + " | " + figure["verdict"].get<std::string>() + " |\n";
    }
    const json& machine = r["manifest"];
    out += "\n`" + r["command"].get<std::string>() + "`: " + duration(r["seconds"].get<double>()) +
           ", " + r["created_utc"].get<std::string>();
    if (machine.contains("processor")) out += ", " + machine["processor"].get<std::string>();
    out += threads_line(r);
    if (!r["seeds"].empty()) out += "; " + seeds_line(r);
    out += ".\n";
    for (const json& change : r["changed"])
      out += "\nNot the published experiment: `" + change.get<std::string>() + "` was set.\n";
  }
  return out;
}

}  // namespace kindred::harness
