// report.html: one self-contained file with curves, table, sample grids, configuration and the
// command that repeats it. The page is report_page.html with Chart.js and the results put in; it
// opens without a network.
#pragma once
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace kindred::harness {

/// The page for the results of compare(); pictures are read from `dir`.
std::string report_html(const nlohmann::json& results, const std::string& dir);
/// The same, written by rename.
void write_report(const std::string& path, const nlohmann::json& results, const std::string& dir);

}  // namespace kindred::harness
