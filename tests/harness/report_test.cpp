// The report page: one file that needs nothing else, whatever stands in the results.
#include "harness/report.h"

#include <catch2/catch.hpp>
#include <filesystem>
#include <regex>

#include "autodiff/check.h"
#include "harness/atomic_file.h"
#include "harness/json.h"
#include "harness/picture.h"
#include "tests/harness/tiny.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;
using Catch::Matchers::Contains;
using kindred::test::TempFolder;
using nlohmann::json;

namespace {

/// Results with everything the page reads, and text that would end a script element.
json sample_results(const TempFolder& folder) {
  data::DataSpec spec;
  spec.modality = data::Modality::image;
  spec.levels = 2;
  spec.length = 1;
  const Tensor white = Tensor::zeros({1, 1}, DType::i32);
  std::filesystem::create_directories(folder / "samples");
  write_sample_picture(folder / "samples/real.png", white, spec);
  write_sample_picture(folder / "samples/mine.png", white, spec);
  return {{"title", "</script><script>alert(1)</script> <!-- \xff"},
          {"question", "\"quoted\" \\ & 'single' \u2028"},
          {"created_utc", "2024-05-06T07:08:09Z"},
          {"command", "kindred compare x.ini"},
          {"unit", "bits/dim"},
          {"config", "[data]\nname = x\n"},
          {"data",
           {{"name", "x"}, {"modality", "image"}, {"train", 10}, {"scored", 5}, {"split", "test"}}},
          {"rows",
           {{{"name", "mine"},
             {"type", "family"},
             {"family", "ar/s4d"},
             {"kind", "exact"},
             {"bits", 1.5},
             {"std_error", 0.1},
             {"samples", "samples/mine.png"},
             {"element_bits", {1, 2}},
             {"element_symbols", {1, 1}},
             {"curve", {{{"seconds", 1}, {"flops", 1e9}, {"bits", 2}, {"std_error", 0.1}}}}}}},
          {"pairs", json::array()},
          {"manifest", {{"version", "1"}}},
          {"real", "samples/real.png"}};
}

/// The text between two marks.
std::string between(const std::string& text, const std::string& from, const std::string& to) {
  const auto first = text.find(from);
  REQUIRE(first != std::string::npos);
  const auto last = text.find(to, first + from.size());
  REQUIRE(last != std::string::npos);
  return text.substr(first + from.size(), last - first - from.size());
}

int64_t count(const std::string& text, const std::string& part) {
  int64_t n = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

}  // namespace

TEST_CASE("report: Chart.js and the results are inside the page", "[report]") {
  const TempFolder folder;
  const std::string page = report_html(sample_results(folder), folder / "");
  CHECK_THAT(page, Contains("Chart.js v"));
  CHECK(page.find("KINDRED_") == std::string::npos);  // every mark was replaced
  // Two script elements, as the template has: nothing in the data opened or closed one.
  CHECK(count(page, "</script") == 2);
  CHECK(count(page, "<!--") == 0);

  const json shown = json::parse(between(page, "const results = ", ";\n"));
  CHECK_THAT(shown["title"].get<std::string>(), Contains("</script><script>alert(1)"));
  CHECK(shown["question"] == "\"quoted\" \\ & 'single' \u2028");
  CHECK(shown["rows"][0]["bits"] == 1.5);
  CHECK_FALSE(shown["rows"][0].contains("element_bits"));  // large, and no part of the page
  CHECK_THAT(shown["real"].get<std::string>(),
             Catch::Matchers::StartsWith("data:image/png;base64,iVBOR"));
  CHECK_THAT(shown["rows"][0]["samples"].get<std::string>(),
             Catch::Matchers::StartsWith("data:image/png;base64,iVBOR"));
}

TEST_CASE("report: nothing is fetched from anywhere", "[report]") {
  const TempFolder folder;
  const std::string page = report_html(sample_results(folder), folder / "");
  const auto chart = page.find("Chart.js v");
  REQUIRE(chart != std::string::npos);
  // The template's own markup and script: no resource but data: URIs.
  const std::string head = page.substr(0, page.find("<script>"));
  const std::string script = page.substr(page.find("const results = "));
  for (const std::string* part : {&head, &script}) {
    for (const char* word : {"http://", "https://", "@import", "url(", "fetch(", "XMLHttpRequest",
                             "WebSocket", "import("})
      CHECK(part->find(word) == std::string::npos);
    const std::regex resource(R"((src|href)\s*=\s*["']([^"']*))");
    for (std::sregex_iterator at(part->begin(), part->end(), resource), end; at != end; ++at)
      CHECK((*at)[2].str().rfind("data:", 0) == 0);
  }
  // Chart.js itself names its home page in its licence text only.
  const std::string library = page.substr(chart, page.find("const results = ") - chart);
  for (const char* word : {"fetch(", "XMLHttpRequest", "WebSocket", "import("})
    CHECK(library.find(word) == std::string::npos);
}

TEST_CASE("report: a missing picture is an error, and no half page is left", "[report]") {
  const TempFolder folder;
  const json results = sample_results(folder);
  std::filesystem::remove(folder / "samples/mine.png");
  CHECK_THROWS_AS(write_report(folder / "report.html", results, folder / ""), Error);
  CHECK_FALSE(std::filesystem::exists(folder / "report.html"));
}
