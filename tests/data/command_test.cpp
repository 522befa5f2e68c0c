// kindred data: the verbs, their JSON, and usage errors.
#include <cstdlib>
#include <iostream>
#include <set>
#include <sstream>

#include "apps/data_command.h"
#include "data/recipe.h"
#include "data/tasks.h"
#include "harness/json.h"
#include "tests/data/support.h"
#include "tests/support/command_output.h"

using namespace kindred;
using namespace kindred::test;
using nlohmann::json;

namespace {
/// Runs "data WORDS..." and returns what it wrote to standard output.
std::string run(std::vector<std::string> words) {
  words.insert(words.begin(), "data");
  return test::command_output(apps::data_command, std::move(words));
}
}  // namespace

TEST_CASE("data list --json names every source and generator", "[data]") {
  const json all = json::parse(run({"list", "--json"}));
  CHECK(all["version"] == 1);
  std::set<std::string> names;
  for (const json& row : all["data"]) {
    CHECK_FALSE(row["summary"].get<std::string>().empty());
    names.insert(row["name"].get<std::string>());
  }
  CHECK(names.size() == all["data"].size());  // each once
  for (const data::Recipe& r : data::recipes()) CHECK(names.count(r.name) == 1);
  for (const data::TaskEntry& t : data::tasks()) CHECK(names.count(t.name) == 1);
  for (const char* known : {"kjv", "mnist", "markov", "moons", "listops", "mackey-glass"})
    CHECK(names.count(known) == 1);
}

TEST_CASE("data describe takes the options of the data set", "[data]") {
  const json points = json::parse(run({"describe", "checkerboard", "--levels", "256", "--json"}));
  CHECK(points["entropy_bits"].get<double>() == Approx(7.5));
  CHECK(points["train"] == 50000);
  CHECK(points["unit"] == "bits/dim");
  const TempFolder folder;
  const std::string path = folder.write("t.txt", "hello world, hello world, hello world");
  const json text =
      json::parse(run({"describe", "text", "--path", path, "--context", "4", "--json"}));
  CHECK(text["alphabet"] == " ,dehlorw");
  CHECK(text["train"] == 33);
  CHECK(text["validation"] == 4);
  CHECK_THAT(run({"describe", "text", "--path", path, "--context", "4"}), has("bits/char"));
  for (const char* option : {"--train-limit", "--train_limit"})
    CHECK(json::parse(run({"describe", "moons", option, "70", "--json"}))["train"] == 70);

  // Equal images fall into one split: here all four are for training, and two of three test images
  // are copies of them.
  folder.write("train-images-idx3-ubyte", idx({4, 1, 2}, {1, 2, 1, 2, 1, 2, 1, 2}));
  folder.write("t10k-images-idx3-ubyte", idx({3, 1, 2}, {1, 2, 8, 8, 1, 2}));
  const json images = json::parse(run({"describe", "idx", "--path", folder / "", "--json"}));
  CHECK(images["train"] == 4);
  CHECK(images["validation"] == 0);
  CHECK(images["test_images_also_in_train"] == 2);
}

TEST_CASE("data: usage errors", "[data]") {
  CHECK_THAT(message_of(Fault::usage, [] { run({}); }), has("verb is missing"));
  CHECK_THAT(message_of(Fault::usage, [] { run({"fetch"}); }), has("known: list"));
  CHECK_THAT(message_of(Fault::usage, [] { run({"get"}); }), has("needs the name"));
  CHECK_THAT(message_of(Fault::usage, [] { run({"get", "moons"}); }), has("generated"));
  CHECK_THAT(message_of(Fault::usage,
                        [] {
                          run({"verify", "cifar"});
                        }),
             has("known sources: digits"));
  CHECK_THAT(run({"--help"}), has("examples"));
}
