#include "data/recipe.h"

#include <algorithm>
#include <boost/program_options.hpp>
#include <sstream>

#include "autodiff/check.h"
#include "data/file.h"

namespace kindred::data {

namespace {
namespace po = boost::program_options;
constexpr const char* kRoles[] = {"data", "train-images", "train-labels", "test-images",
                                  "test-labels"};
}  // namespace

const char* name(Source source) {
  switch (source) {
    case Source::apt:
      return "apt";
    case Source::npm:
      return "npm";
    case Source::user:
      return "user";
  }
  return "?";
}

std::string Recipe::sha256() const {
  if (members.size() == 1) return members.front().sha256;
  std::string list;
  for (const Member& m : members) list += m.role + ' ' + m.sha256 + '\n';
  return data::sha256(list);
}

Recipe parse_recipe(const std::string& text, const std::string& origin) {
  Recipe r;
  std::string modality, source;
  std::vector<Member> members(std::size(kRoles));
  po::options_description keys;
  const auto key = [&](const std::string& name, auto& field) {
    keys.add_options()(name.c_str(), po::value(&field));
  };
  key("name", r.name);
  key("summary", r.summary);
  key("licence", r.licence);
  key("citation", r.citation);
  key("modality", modality);
  key("format", r.format);
  key("transform", r.transform);
  key("source", source);
  key("package", r.package);
  key("where", r.where);
  key("levels", r.levels);
  key("height", r.height);
  key("width", r.width);
  for (std::size_t i = 0; i < members.size(); ++i) {
    members[i].role = kRoles[i];
    key(members[i].role + ".member", members[i].path);
    key(members[i].role + ".sha256", members[i].sha256);
    key(members[i].role + ".command", members[i].command);
    key(members[i].role + ".directory", members[i].directory);
  }
  try {
    std::istringstream in(text);
    po::variables_map values;
    po::store(po::parse_config_file(in, keys), values);
    po::notify(values);
  } catch (const po::error& e) {
    fail(Fault::data, "recipe", origin, ": ", e.what());
  }
  const auto need = [&](bool ok, const auto&... what) {
    if (!ok) fail(Fault::data, "recipe", origin, ": ", what...);
  };
  need(!r.name.empty(), "name is missing");
  need(modality == "image" || modality == "text", "modality \"", modality,
       "\"; known: image, text");
  r.modality = modality == "image" ? Modality::image : Modality::text;
  need(r.format == "idx" || r.format == "csv" || r.format == "text", "format \"", r.format,
       "\"; known: idx, csv, text");
  need((r.format == "text") == (r.modality == Modality::text), "format ", r.format, " is not of ",
       modality);
  need(r.transform.empty() || r.transform == "drop-references", "transform \"", r.transform,
       "\"; known: drop-references");
  need(source == "apt" || source == "npm" || source == "user", "source \"", source,
       "\"; known: apt, npm, user");
  r.source = source == "apt" ? Source::apt : source == "npm" ? Source::npm : Source::user;
  need(r.source == Source::user ? !r.where.empty() : !r.package.empty(), "source ", source,
       " needs ", r.source == Source::user ? "where" : "package");
  need(r.format != "csv" || (r.height > 0 && r.width > 0 && r.levels > 1 && r.levels <= 256),
       "images in a CSV file need height, width and levels (2 to 256)");
  for (Member& m : members) {
    if (m.path.empty() && m.sha256.empty()) continue;
    need(!m.path.empty() && !m.file_name().empty(), m.role, ".member is missing");
    need(m.sha256.size() == 64 &&
             m.sha256.find_first_not_of("0123456789abcdef") == std::string::npos,
         m.role, ".sha256 is not 64 hexadecimal digits");
    r.members.push_back(std::move(m));
  }
  const auto has = [&](const char* role) {
    return std::any_of(r.members.begin(), r.members.end(),
                       [&](const Member& m) { return m.role == role; });
  };
  need(r.format == "idx" ? has("train-images") && has("test-images") : has("data"),
       r.format == "idx" ? "[train-images] and [test-images] are missing" : "[data] is missing");
  return r;
}

const std::vector<Recipe>& recipes() {
  static const std::vector<Recipe> all = [] {
    std::vector<Recipe> list;
    for (const RecipeText& t : recipe_texts()) list.push_back(parse_recipe(t.text, t.file));
    std::sort(list.begin(), list.end(),
              [](const Recipe& a, const Recipe& b) { return a.name < b.name; });
    return list;
  }();
  return all;
}

const Recipe* find_recipe(const std::string& name) {
  for (const Recipe& r : recipes())
    if (r.name == name) return &r;
  return nullptr;
}

}  // namespace kindred::data
