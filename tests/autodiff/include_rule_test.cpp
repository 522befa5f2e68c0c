// The rooms form a DAG: this test reads every #include "room/..." of the tree and refuses edges
// that CONTRIBUTING.md does not allow, xtensor anywhere but in autodiff/xt.h and the tests, and
// JSON anywhere but in harness/json.h.
#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace {

using Edges = std::set<std::string>;

/// What a room may include: whole rooms, or single files of a room. Rooms without a row are
/// families.
const std::map<std::string, Edges>& rows() {
  static const std::map<std::string, Edges> table = {
      {"autodiff", {}},
      {"nn", {"autodiff"}},
      {"optim", {"autodiff"}},
      {"data", {"autodiff"}},
      {"harness", {"autodiff", "nn", "optim", "data"}},
      {"diffusion",
       {"autodiff", "nn", "data/spec.h", "harness/backbone.h", "harness/objective.h",
        "harness/family.h", "harness/config.h", "harness/decode.h", "harness/symbols.h",
        "harness/windows.h"}},
  };
  return table;
}
Edges allowed(const std::string& room) {
  const auto row = rows().find(room);
  Edges edges = row != rows().end() ? row->second
                                    : Edges{"autodiff", "nn", "data/spec.h", "harness/backbone.h",
                                            "harness/config.h"};
  edges.insert(room);
  return edges;
}
bool is_free(const std::string& room) { return room == "apps" || room == "tests"; }

/// Folders of the tree with code in them.
std::vector<std::string> rooms() {
  namespace fs = std::filesystem;
  std::vector<std::string> all;
  for (const auto& folder : fs::directory_iterator(KINDRED_SOURCE_DIR)) {
    const std::string name = folder.path().filename().string();
    if (!folder.is_directory() || name[0] == '.' || name.rfind("build", 0) == 0) continue;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
      if (entry.path().extension() == ".cpp") {
        all.push_back(name);
        break;
      }
  }
  return all;
}

/// The complaint about one file of a room, "" if there is none.
std::string violation(const std::string& room, const std::string& path, const std::string& text) {
  static const std::regex quoted(R"rx(^\s*#\s*include\s*"([^"]+)")rx");
  static const std::regex xtensor(R"rx(^\s*#\s*include\s*[<"](xtensor|xtensor-blas|xsimd)/)rx");
  static const std::regex json(R"rx(^\s*#\s*include\s*<nlohmann/json\.hpp>)rx");
  const bool free = is_free(room);
  const Edges edges = allowed(room);
  std::istringstream lines(text);
  std::string complaint;
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_search(line, xtensor) && path != "autodiff/xt.h" && room != "tests")
      complaint += path + " includes xtensor; use autodiff/xt.h\n";
    if (std::regex_search(line, json) && path != "harness/json.h")
      complaint += path + " includes nlohmann/json.hpp; use harness/json.h\n";
    if (!std::regex_search(line, match, quoted)) continue;
    const std::string target = match[1];
    const auto slash = target.find('/');
    if (slash == std::string::npos) {
      complaint += path + " includes \"" + target + "\" without its room\n";
    } else if (!free && !edges.count(target.substr(0, slash)) && !edges.count(target)) {
      complaint += path + " (" + room + ") may not include \"" + target + "\"\n";
    }
  }
  return complaint;
}

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("the checker sees forbidden edges") {
  CHECK(violation("nn", "nn/x.h", "#include \"autodiff/tensor.h\"\n#include <vector>\n") == "");
  CHECK(violation("autodiff", "autodiff/x.h", "#include \"nn/linear.h\"\n") != "");
  CHECK(violation("nn", "nn/x.h", "  #  include \"optim/slab.h\"\n") != "");
  CHECK(violation("ssm", "ssm/x.cpp", "#include \"transformer/block.h\"\n") != "");
  CHECK(violation("ssm", "ssm/x.cpp", "#include \"harness/backbone.h\"\n") == "");
  CHECK(violation("ssm", "ssm/x.cpp", "#include \"harness/train.h\"\n") != "");
  CHECK(violation("tcn", "tcn/x.cpp", "#include \"harness/backbone.h\"\n") == "");  // a new family
  CHECK(violation("tcn", "tcn/x.cpp", "#include \"ssm/layer.h\"\n") != "");
  CHECK(violation("diffusion", "diffusion/x.cpp", "#include \"harness/objective.h\"\n") == "");
  CHECK(violation("apps", "apps/x.cpp", "#include \"transformer/block.h\"\n") == "");
  CHECK(violation("apps", "apps/x.cpp", "#include \"block.h\"\n") != "");
  CHECK(violation("ssm", "ssm/x.cpp", "#include <xtensor/xarray.hpp>\n") != "");
  CHECK(violation("autodiff", "autodiff/xt.h", "#include <xtensor/xarray.hpp>\n") == "");
  CHECK(violation("tests", "tests/apps/a_test.cpp", "#include <nlohmann/json.hpp>\n") != "");
  CHECK(violation("harness", "harness/json.h", "#include <nlohmann/json.hpp>\n") == "");
  CHECK(violation("harness", "harness/a.h", "#include <nlohmann/json_fwd.hpp>\n") == "");
  CHECK(violation("tests", "tests/x.cpp", "#include <xtensor/xarray.hpp>\n") == "");
}

TEST_CASE("every include in the tree is an allowed edge") {
  namespace fs = std::filesystem;
  const fs::path root = KINDRED_SOURCE_DIR;
  int files = 0;
  for (const std::string& room : rooms()) {
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      const std::string extension = entry.path().extension().string();
      if (!entry.is_regular_file() || (extension != ".h" && extension != ".cpp")) continue;
      ++files;
      CHECK(violation(room, fs::relative(entry.path(), root).generic_string(),
                      read(entry.path())) == "");
    }
  }
  CHECK(files > 50);
}

TEST_CASE("no header includes the heavy xt.h, and every header is guarded") {
  namespace fs = std::filesystem;
  const fs::path root = KINDRED_SOURCE_DIR;
  for (const std::string& room : rooms()) {
    if (is_free(room)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / room)) {
      if (entry.path().extension() != ".h") continue;
      INFO(entry.path().string());
      const std::string text = read(entry.path());
      CHECK(text.find("#pragma once") != std::string::npos);
      CHECK(text.find("#include \"autodiff/xt.h\"") == std::string::npos);
    }
  }
}
