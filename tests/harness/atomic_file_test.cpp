#include "harness/atomic_file.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "autodiff/check.h"
#include "harness/sha256.h"
#include "tests/support/temp_folder.h"

using namespace kindred;
using namespace kindred::harness;
using kindred::test::TempFolder;
namespace fs = std::filesystem;

TEST_CASE("SHA-256 gives the published digests") {  // FIPS 180-4 examples
  CHECK(sha256_hex("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256_hex("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex(Sha256().update("a").update("b").update("c").digest()) == sha256_hex("abc"));
}

TEST_CASE("atomic_write replaces a file as a whole") {
  const TempFolder dir;
  const std::string path = dir / "a.bin", bytes("x\0y\n", 4);
  atomic_write(path, "");
  CHECK(read_file(path).empty());
  atomic_write(path, bytes);
  CHECK(read_file(path) == bytes);
  atomic_write(path, "short");
  CHECK(read_file(path) == "short");
  CHECK(dir.files() == 1);
}

TEST_CASE("failures are I/O errors with the path and leave nothing behind") {
  const TempFolder dir;
  const auto fault = [](auto&& call) {
    try {
      call();
    } catch (const Error& e) {
      CHECK_THAT(e.what(), Catch::Contains("missing") || Catch::Contains("folder"));
      return e.fault();
    }
    return static_cast<Fault>(0);
  };
  CHECK(fault([&] { atomic_write(dir / "missing/a", "x"); }) == Fault::io);
  CHECK(fault([&] { read_file(dir / "missing"); }) == Fault::io);
  fs::create_directories(dir / "folder/inside");
  CHECK(fault([&] { atomic_write(dir / "folder", "x"); }) == Fault::io);
  CHECK(fault([&] { read_file(dir / "folder"); }) == Fault::io);
  CHECK(dir.files() == 1);
}

TEST_CASE("a full disk leaves the old file and no temporary one") {
  const TempFolder dir;
  atomic_write(dir / "a", "old");
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      atomic_write(dir / "a", std::string(5000, 'n'));
    } catch (const Error& e) {
      ::_exit(static_cast<int>(e.fault()));
    }
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(read_file(dir / "a") == "old");
  CHECK(dir.files() == 1);
}

TEST_CASE("a link moves from one target to the next in one step") {
  const TempFolder dir;
  atomic_symlink("one", dir / "latest");
  atomic_symlink("two", dir / "latest");
  CHECK(fs::read_symlink(dir / "latest") == "two");
  CHECK(dir.files() == 1);
}

TEST_CASE("temporary files of dead processes are removed, others stay") {
  const TempFolder dir;
  const pid_t dead = ::fork();
  if (dead == 0) ::_exit(0);
  ::waitpid(dead, nullptr, 0);
  const std::string alive = std::to_string(::getppid()), gone = std::to_string(dead);
  for (const std::string& name :
       {".a.h5.tmp." + gone, ".b.tmp." + std::to_string(::getpid()), ".c.tmp." + alive,
        "d.tmp." + gone, std::string(".e.tmp.x"), std::string(".f.tmp."), std::string("g")})
    std::ofstream(dir / name) << "x";
  CHECK(remove_stale_temporaries(dir.path()) == 2);
  CHECK_FALSE(fs::exists(dir / (".a.h5.tmp." + gone)));
  CHECK(fs::exists(dir / (".c.tmp." + alive)));
  CHECK(dir.files() == 5);
  CHECK(remove_stale_temporaries(dir / "nowhere") == 0);
}
