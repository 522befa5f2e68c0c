#include "harness/report.h"

#include <string_view>

#include "harness/atomic_file.h"
#include "harness/compare.h"
#include "harness/json.h"
#include "harness/png.h"

// The page and Chart.js are part of the program, so that it needs no files beside it.
#define KINDRED_EMBED(symbol, path)                                                  \
  __asm__(".section .rodata\n.global " #symbol "\n.global " #symbol "_end\n" #symbol \
          ":\n.incbin \"" path "\"\n" #symbol "_end:\n.byte 0\n.previous\n");        \
  extern "C" const char symbol[];                                                    \
  extern "C" const char symbol##_end[];

KINDRED_EMBED(kindred_chart_js, KINDRED_CHART_JS)
KINDRED_EMBED(kindred_report_page, KINDRED_REPORT_PAGE)

namespace kindred::harness {

using nlohmann::json;

namespace {

/// JSON inside a script element: "</script" and "<!--" must not appear.
std::string script_safe(std::string text) {
  for (std::size_t at = 0; (at = text.find('<', at)) != std::string::npos; at += 6)
    text.replace(at, 1, "\\u003c");
  return text;
}

void put(std::string& page, std::string_view mark, std::string_view text) {
  const auto at = page.find(mark);
  check(at != std::string::npos, "report", "the page has no ", mark);
  page.replace(at, mark.size(), text);
}

}  // namespace

std::string report_html(const json& results, const std::string& dir) {
  json shown = results;
  for (json& row : shown["rows"]) {
    row.erase("element_bits");
    row.erase("element_scores");
    row.erase("element_symbols");
    if (row.contains("samples"))
      row["samples"] = data_uri(read_file(dir + "/" + row["samples"].get<std::string>()));
  }
  if (shown.contains("real"))
    shown["real"] = data_uri(read_file(dir + "/" + shown["real"].get<std::string>()));
  std::string page(kindred_report_page,
                   static_cast<std::size_t>(kindred_report_page_end - kindred_report_page));
  put(page, "/*KINDRED_RESULTS*/",
      "const results = " + script_safe(shown.dump(-1, ' ', false, json::error_handler_t::replace)) +
          ";");
  put(page, "/*KINDRED_CHART_JS*/",
      std::string_view(kindred_chart_js,
                       static_cast<std::size_t>(kindred_chart_js_end - kindred_chart_js)));
  return page;
}

void write_report(const std::string& path, const json& results, const std::string& dir) {
  atomic_write(path, report_html(results, dir));
}

}  // namespace kindred::harness
