// The plots of a scaling document: time against size for each group of axes, and the crossing.
#include <cstdio>

#include "apps/bench/scaling.h"
#include "apps/plot.h"
#include "harness/json.h"

namespace kindred::apps::bench {

namespace {
using nlohmann::json;

/// Sizes are drawn as multiples of each axis' smallest, so that unlike sizes share one axis.
Plot group_plot(const json& document, const std::string& group, const std::string& title) {
  Plot plot{title, "size, in multiples of the smallest", "time of a training step, ms", {}, {1, 2}};
  for (const json& axis : document.at("axes")) {
    if (axis.at("group") != group) continue;
    const auto sizes = column(axis["points"], "size");
    char name[160];
    std::snprintf(name, sizeof name, "%s from %.0f to %.0f: exponent %.2f in the upper half",
                  axis["name"].get<std::string>().c_str(), sizes.front(), sizes.back(),
                  axis["fit"]["time"].get<double>());
    Series series{name, sizes, column(axis["points"], "ms")};
    for (double& x : series.x) x /= sizes.front();
    plot.series.push_back(std::move(series));
  }
  return plot;
}

Plot crossing_plot(const json& crossing) {
  const auto lengths = column(crossing.at("points"), "length");
  char title[160];
  std::snprintf(title, sizeof title, "One layer of width %.0f, %.0f symbols a step",
                crossing["width"].get<double>(), crossing["symbols"].get<double>());
  Plot plot{title,
            "sequence length L, symbols",
            "forward and backward, ms",
            {{"attention, causal", lengths, column(crossing["points"], "attention_ms")},
             {"S4D", lengths, column(crossing["points"], "s4d_ms")}}};
  if (crossing["verdict"] == "at") {
    plot.marked_x = crossing["length"].get<double>();
    char mark[64];
    std::snprintf(mark, sizeof mark, "L = %.0f", plot.marked_x);
    plot.mark = mark;
  }
  return plot;
}
}  // namespace

std::vector<std::pair<std::string, std::string>> scaling_plots(const json& document) {
  std::vector<std::pair<std::string, std::string>> files;
  for (const auto& [group, title] :
       {std::pair{"gpt", "How a GPT step grows"}, std::pair{"s4d", "How an S4D step grows"}}) {
    const Plot plot = group_plot(document, group, title);
    if (!plot.series.empty()) files.emplace_back(std::string(group) + ".svg", to_svg(plot));
  }
  if (document.contains("crossing"))
    files.emplace_back("crossing.svg", to_svg(crossing_plot(document["crossing"])));
  return files;
}

}  // namespace kindred::apps::bench
