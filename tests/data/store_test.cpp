// The store: installed, cached and fetched files, with package tools replaced by scripts in PATH.
#include "data/store.h"

#include <cstdlib>

#include "data/dataset.h"
#include "data/process.h"
#include "data/recipe.h"
#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::data;
using namespace kindred::test;
namespace fs = std::filesystem;

namespace {
/// Sets an environment variable for as long as it lives.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    ::setenv(name, value.c_str(), 1);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment() { old_.empty() ? ::unsetenv(name_) : ::setenv(name_, old_.c_str(), 1); }

 private:
  const char* name_;
  std::string old_;
};

constexpr const char* kText = "the text of the package\n";

Recipe recipe_of(Source source, const std::string& content = kText) {
  Recipe r;
  r.name = "sample";
  r.modality = Modality::text;
  r.format = "text";
  r.source = source;
  r.package = source == Source::npm ? "sample-pack@1.0.0" : "sample-pack";
  r.where = "the library";
  r.members = {{"data", "share/sample.txt", sha256(content), "", ""}};
  return r;
}

/// Scripts that stand in for apt-get, dpkg-deb, npm and tar; each notes that it ran.
struct Tools {
  TempFolder folder;
  Environment path{"PATH", (folder / "bin") + ":" + std::getenv("PATH")};
  void script(const std::string& name, const std::string& body) const {
    folder.write("bin/" + name,
                 "#!/bin/sh\necho " + name + " \"$@\" >> " + (folder / "log") + "\n" + body + "\n");
    fs::permissions(folder / ("bin/" + name), fs::perms::owner_all);
  }
  std::string log() const { return fs::exists(folder / "log") ? read_file(folder / "log") : ""; }
  void working(const std::string& content = kText) const {
    folder.write("content", content);
    const std::string unpack = "mkdir -p share && cp " + (folder / "content") + " share/sample.txt";
    script("apt-get", "echo archive > sample_1_all.deb");
    script("dpkg-deb", unpack);
    script("npm", "echo archive > sample-pack-1.0.0.tgz");
    script("tar", unpack);
  }
};

std::size_t entries(const fs::path& folder) {
  if (!fs::exists(folder)) return 0;
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}
}  // namespace

TEST_CASE("packages are fetched once, verified and kept", "[data]") {
  for (Source source : {Source::apt, Source::npm}) {
    const Tools tools;
    tools.working();
    const Recipe recipe = recipe_of(source);
    const Store store(tools.folder / "cache", tools.folder / "root");
    CHECK(store.status(recipe) == "missing");
    CHECK_THAT(message_of(Fault::data, [&] { store.load(recipe); }),
               has("not on this machine") && has("kindred data get sample"));
    std::string said;
    const auto files =
        store.get(recipe, "", false, [&](const std::string& s) { said += s + "\n"; });
    REQUIRE(files.size() == 1);
    CHECK(files[0].bytes == kText);
    CHECK(files[0].origin == tools.folder / "cache/sample/sample.txt");
    CHECK_THAT(said, has("sample-pack"));
    CHECK(entries(tools.folder / "cache") == 1);  // no working folder is left
    CHECK(entries(tools.folder / "cache/sample") == 1);
    CHECK(store.status(recipe) == "cache");
    const std::string log = tools.log();
    CHECK_THAT(log, source == Source::apt ? has("apt-get download sample-pack")
                                          : has("npm pack --silent sample-pack@1.0.0"));
    CHECK(store.get(recipe)[0].bytes == kText);
    CHECK(store.get(recipe, "", true)[0].bytes == kText);
    CHECK(tools.log() == log);  // nothing ran again
  }
}

TEST_CASE("an installed file with the right hash is used as it is", "[data]") {
  const Tools tools;
  const Recipe recipe = recipe_of(Source::apt);
  const Store store(tools.folder / "cache", tools.folder / "root");
  tools.folder.write("root/share/sample.txt", kText);
  CHECK(store.status(recipe) == "installed");
  CHECK(store.get(recipe, "", true)[0].origin == tools.folder / "root/share/sample.txt");
  CHECK(tools.log().empty());
  CHECK_FALSE(fs::exists(tools.folder / "cache"));

  // Another version is installed: the error shows both sums, and get fetches the right one.
  tools.folder.write("root/share/sample.txt", "another version");
  CHECK_THAT(message_of(Fault::data, [&] { store.load(recipe); }),
             has(sha256(kText)) && has(sha256("another version")));
  tools.working();
  CHECK(store.get(recipe)[0].bytes == kText);
  CHECK(store.load(recipe)[0].bytes == kText);
}

TEST_CASE("whatever fails, the cache holds nothing half-written", "[data]") {
  const Recipe recipe = recipe_of(Source::apt);
  const auto failing = [&](const Tools& tools, const Recipe& r = recipe_of(Source::apt)) {
    const Store store(tools.folder / "cache", tools.folder / "root");
    const std::string text = message_of(Fault::data, [&] { store.get(r); });
    CHECK(entries(tools.folder / "cache") == 0);
    CHECK(store.status(r) == "missing");
    return text;
  };
  SECTION("the download fails") {
    const Tools tools;
    tools.working();
    tools.script("apt-get",
                 "echo partial > sample.deb.part; echo 'no route to anywhere' >&2; exit 100");
    CHECK_THAT(failing(tools),
               has("status 100") && has("no route to anywhere") && has("apt-get update"));
  }
  SECTION("the download is killed") {
    const Tools tools;
    tools.working();
    tools.script("apt-get", "echo partial > sample.deb; kill -9 $$");
    CHECK_THAT(failing(tools), has("status 137"));
  }
  SECTION("nothing arrives") {
    const Tools tools;
    tools.working();
    tools.script("apt-get", "exit 0");
    CHECK_THAT(failing(tools), has("left 0 of 1 .deb"));
  }
  SECTION("the archive is damaged") {
    const Tools tools;
    tools.working();
    tools.script("dpkg-deb", "mkdir -p share; echo half > share/sample.txt; exit 2");
    CHECK_THAT(failing(tools), has("damaged"));
  }
  SECTION("the package holds another file") {
    const Tools tools;
    tools.working("something else");
    CHECK_THAT(failing(tools), has("expected " + sha256(kText)) && has(sha256("something else")));
  }
  SECTION("the package lacks the file") {
    const Tools tools;
    tools.working();
    tools.script("dpkg-deb", "exit 0");
    CHECK_THAT(failing(tools), has("no such file"));
  }
  SECTION("the second of two files is wrong") {
    const Tools tools;
    tools.working();
    Recipe two = recipe;
    two.members.push_back({"train-labels", "share/labels", sha256("labels"), "", ""});
    tools.script("dpkg-deb", "mkdir -p share && cp " + (tools.folder / "content") +
                                 " share/sample.txt && echo wrong > share/labels");
    CHECK_THAT(failing(tools, two), has("is not the labels"));
  }
  SECTION("npm fails") {
    const Tools tools;
    tools.working();
    tools.script("npm", "echo 'not found' >&2; exit 1");
    CHECK_THAT(failing(tools, recipe_of(Source::npm)), has("npm pack") && has("not found"));
  }
}

TEST_CASE("a failed get leaves an older cache as it was", "[data]") {
  const Tools tools;
  tools.working("something else");
  tools.folder.write("cache/sample/sample.txt", "damaged");
  const Store store(tools.folder / "cache", tools.folder / "root");
  const Recipe recipe = recipe_of(Source::apt);
  message_of(Fault::data, [&] { store.get(recipe); });
  CHECK(read_file(tools.folder / "cache/sample/sample.txt") == "damaged");
  tools.working();
  CHECK(store.get(recipe)[0].bytes == kText);
  CHECK(read_file(tools.folder / "cache/sample/sample.txt") == kText);
  CHECK(entries(tools.folder / "cache") == 1);
}

TEST_CASE("working folders of processes that died are cleared away", "[data]") {
  const Tools tools;
  tools.working();
  const auto gone = run_program({"sh", "-c", "echo $$"}, "/");
  const std::string pid = gone.output.substr(0, gone.output.size() - 1);
  tools.folder.write("cache/.sample.tmp." + pid + "/unpacked/half", "x");
  const Store store(tools.folder / "cache", tools.folder / "root");
  store.get(recipe_of(Source::apt));
  CHECK(entries(tools.folder / "cache") == 1);
}

TEST_CASE("--offline never runs a package manager", "[data]") {
  const Tools tools;
  tools.working();
  const Store store(tools.folder / "cache", tools.folder / "root");
  CHECK_THAT(message_of(Fault::data, [&] { store.get(recipe_of(Source::apt), "", true); }),
             has("not on this machine"));
  CHECK(tools.log().empty());
  CHECK(entries(tools.folder / "cache") == 0);
}

TEST_CASE("a file that users bring is verified and kept", "[data]") {
  const Tools tools;
  tools.working();
  const Recipe recipe = recipe_of(Source::user);
  const Store store(tools.folder / "cache", tools.folder / "root");
  CHECK_THAT(message_of(Fault::data, [&] { store.get(recipe); }),
             has("the library") && has("--path FILE"));
  const std::string wrong = tools.folder.write("wrong.txt", "not it");
  CHECK_THAT(message_of(Fault::data, [&] { store.get(recipe, wrong); }),
             has("wrong.txt") && has(sha256(kText)) && has(sha256("not it")));
  CHECK(entries(tools.folder / "cache") == 0);
  const std::string right = tools.folder.write("mine.txt", kText);
  CHECK(store.load(recipe, right)[0].origin == right);
  CHECK(entries(tools.folder / "cache") == 0);
  CHECK(store.get(recipe, right)[0].bytes == kText);
  CHECK(store.status(recipe) == "cache");
  CHECK(tools.log().empty());
  CHECK_THAT(message_of(Fault::data, [&] { store.load(recipe, tools.folder / "none"); }),
             has("no such file"));
}

TEST_CASE("a member may be the output of a program of the package", "[data]") {
  const Tools tools;
  tools.working();
  Recipe recipe = recipe_of(Source::apt, "line one two\n");
  recipe.members[0].command = "bin/dump one two";
  recipe.members[0].directory = "lib";
  const std::string unpack =
      "mkdir -p bin lib; echo line > lib/base; printf '#!/bin/sh\\necho $(cat base) $1 $2\\n' > "
      "bin/dump; "
      "chmod +x bin/dump";
  tools.script("dpkg-deb", unpack);
  const Store store(tools.folder / "cache", tools.folder / "root");
  CHECK(store.get(recipe)[0].bytes == "line one two\n");
  CHECK(store.get(recipe)[0].origin == tools.folder / "cache/sample/sample.txt");

  // Installed: the program under the root runs, nothing is cached.
  const Store other(tools.folder / "cache2", tools.folder / "root");
  tools.folder.write("root/lib/base", "line\n");
  tools.folder.write("root/bin/dump", "#!/bin/sh\necho $(cat base) $1 $2\n");
  fs::permissions(tools.folder / "root/bin/dump", fs::perms::owner_all);
  CHECK(other.status(recipe) == "installed");
  CHECK(other.load(recipe)[0].bytes == "line one two\n");
  CHECK_FALSE(fs::exists(tools.folder / "cache2"));
  // A program that fails counts as missing.
  tools.folder.write("root/bin/dump", "#!/bin/sh\nexit 1\n");
  CHECK_THAT(message_of(Fault::data, [&] { other.load(recipe); }), has("kindred data get sample"));
}

TEST_CASE("programs: status, output, errors, working directory", "[data]") {
  const TempFolder folder;
  const auto r = run_program({"sh", "-c", "pwd; echo bad >&2; cat; exit 3"}, folder / "");
  CHECK(r.status == 3);
  CHECK(fs::equivalent(r.output.substr(0, r.output.size() - 1), folder / ""));
  CHECK(r.errors == "bad\n");
  CHECK(run_program({"no-such-program-here"}, "/").status == 127);
  CHECK(run_program({"sh", "-c", "kill -9 $$"}, "/").status == 137);
}

TEST_CASE("the built-in recipes are complete", "[data]") {
  for (const Recipe& r : recipes()) {
    CHECK_FALSE(r.summary.empty());
    CHECK_FALSE(r.licence.empty());
    CHECK_FALSE(r.citation.empty());
    CHECK(r.sha256().size() == 64);
  }
  for (const char* known : {"digits", "fashion-mnist", "kjv", "mnist", "tinyshakespeare"})
    CHECK(find_recipe(known) != nullptr);
  CHECK(find_recipe("fashion-mnist")->members.size() == 4);
  CHECK(find_recipe("digits")->sha256().substr(0, 16) == "46abec6b12486ad9");
  CHECK(find_recipe("kjv")->sha256().substr(0, 16) == "cd45f0c9cedab8e4");
  CHECK(find_recipe("nothing") == nullptr);
}

TEST_CASE("broken recipes are refused", "[data]") {
  const std::string good =
      "name = a\nmodality = text\nformat = text\nsource = user\nwhere = there\n[data]\nmember = x\n"
      "sha256 = e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
  CHECK(parse_recipe(good, "r.ini").members[0].file_name() == "x");
  const auto error = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return message_of(Fault::data, [&] { parse_recipe(text, "r.ini"); });
  };
  CHECK_THAT(error("where = there", "colour = red"), has("r.ini") && has("colour"));
  CHECK_THAT(error("where = there\n", ""), has("needs where"));
  CHECK_THAT(error("source = user", "source = ftp"), has("known: apt, npm, user"));
  CHECK_THAT(error("format = text", "format = idx"), has("not of text"));
  CHECK_THAT(error("modality = text", "modality = sound"), has("known: image, text"));
  CHECK_THAT(error("e3b0", "E3B0"), has("64 hexadecimal"));
  CHECK_THAT(error("member = x\n", ""), has("data.member is missing"));
  CHECK_THAT(error("[data]", "[test-images]"), has("[data] is missing"));
  CHECK_THAT(error("where = there", "where = there\ntransform = rot13"), has("drop-references"));
}

TEST_CASE("open: unknown names, missing paths, missing sources, wrong options", "[data]") {
  const TempFolder folder;
  const Environment cache("XDG_CACHE_HOME", folder / "cache");
  CHECK(Store().cache() == folder / "cache/kindred");
  DataOptions options;
  options.name = "fashion";
  CHECK_THAT(message_of(Fault::usage, [&] { open(options); }),
             has("fashion-mnist") && has("gauss8"));
  options.name = "idx";
  CHECK_THAT(message_of(Fault::usage, [&] { open(options); }), has("needs path"));
  options.name = "mnist";
  CHECK_THAT(message_of(Fault::data, [&] { open(options); }), has("run: kindred data get mnist"));
  options.name = "tinyshakespeare";
  CHECK_THAT(message_of(Fault::data, [&] { open(options); }),
             has("char-rnn") && has("--path FILE"));
  options.path = folder.write("input.txt", "not Shakespeare");
  CHECK_THAT(message_of(Fault::data, [&] { open(options); }), has("expected 86c4e6aa"));
  options.levels = 16;
  CHECK_THAT(message_of(Fault::usage, [&] { open(options); }), has("does not apply to text"));
  options.name = "mnist";
  options.alphabet = "bytes";
  CHECK_THAT(message_of(Fault::usage, [&] { open(options); }), has("text only"));
}
