#include "harness/run_dir.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "autodiff/check.h"
#include "harness/atomic_file.h"
#include "harness/json.h"
#include "harness/manifest.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;
using kindred::test::TempFolder;
namespace fs = std::filesystem;

TEST_CASE("a run folder is named by its configuration") {
  const TempFolder root;
  // SHA-256 of "abc" begins ba7816bf8f01 (FIPS 180-4)
  CHECK(RunDir::id_of("gpt", "abc") == "gpt-ba7816bf8f01");
  const RunDir run((root.path() / "runs").string(), "gpt", "abc");
  CHECK(run.path() == (root.path() / "runs/gpt-ba7816bf8f01").string());
  CHECK(fs::is_directory(run.snapshots()));
  CHECK(fs::is_directory(run.samples()));
  CHECK(read_file(run.config()) == "abc");
  CHECK_THROWS_AS(RunDir(root.path(), "a/b", "abc"), Error);
  CHECK_THROWS_AS(RunDir(root.path(), "", "abc"), Error);
}

TEST_CASE("two processes cannot share a run folder, and a killed one leaves no lock") {
  const TempFolder root;
  int ready[2];
  REQUIRE(::pipe(ready) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const RunDir run(root.path(), "x", "c");
    std::ofstream(run.snapshots() + "/.step.h5.tmp." + std::to_string(::getpid())) << "half";
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  try {
    const RunDir second(root.path(), "x", "c");
    FAIL("two holders of one lock");
  } catch (const Error& e) {
    CHECK(e.fault() == Fault::usage);
    CHECK_THAT(e.what(), Catch::Contains("in use by process " + std::to_string(child)));
  }
  const RunDir other(root.path(), "x", "another configuration");
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  const RunDir again(root.path(), "x", "c");
  CHECK(fs::is_empty(again.snapshots()));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("the manifest tells what made a run") {
  ::setenv("OPENBLAS_KINDRED_TEST", "7", 1);
  const auto json = nlohmann::json::parse(
      make_manifest({{"kindred", "train", "\xff"}, 17, "digits", "46abec", "c0ffee"}));
  ::unsetenv("OPENBLAS_KINDRED_TEST");
  CHECK(json.at("argv").at(1) == "train");
  CHECK(json.at("seed") == 17);
  CHECK(json.at("data").at("sha256") == "46abec");
  CHECK(json.at("environment").at("OPENBLAS_KINDRED_TEST") == "7");
  CHECK(json.at("threads") >= 1);
  CHECK_FALSE(json.at("processor").get<std::string>().empty());
  CHECK_THAT(json.at("libraries").at("hdf5").get<std::string>(), Catch::StartsWith("1."));
  CHECK_THAT(json.at("libraries").at("openblas").get<std::string>(), Catch::Contains("OpenBLAS"));
  CHECK(json.at("git_revision").is_string());
  CHECK(json.at("created_utc").get<std::string>().size() == 20);
}

TEST_CASE("manifests that differ where bits may differ are told apart") {
  const std::string one = make_manifest({{"a"}, 1, "", "", ""}),
                    two = make_manifest({{"b"}, 2, "", "", ""});
  CHECK(manifest_differences(one, two).empty());
  auto json = nlohmann::json::parse(two);
  json["threads"] = 99;
  json["libraries"]["openblas_core"] = "Z80";
  const auto found = manifest_differences(one, json.dump());
  REQUIRE(found.size() == 2);
  CHECK_THAT(found[0], Catch::StartsWith("threads: ") && Catch::EndsWith("-> 99"));
  CHECK_THAT(found[1], Catch::Contains("Z80"));
  CHECK_THROWS_AS(manifest_differences(one, "{"), Error);
}
