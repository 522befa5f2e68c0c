// What a subcommand of the program writes to standard output, run inside the test.
#pragma once
#include <catch2/catch.hpp>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

namespace kindred::test {

/// Runs command(argc, argv) with these words, the first its name; it must return 0.
inline std::string command_output(int (*command)(int, char**), std::vector<std::string> words) {
  std::vector<char*> argv;
  for (auto& w : words) argv.push_back(w.data());
  std::ostringstream out;
  struct Redirect {
    std::streambuf* old;
    ~Redirect() { std::cout.rdbuf(old); }
  } redirect{std::cout.rdbuf(out.rdbuf())};
  const int code = command(static_cast<int>(argv.size()), argv.data());  // errors pass through
  CHECK(code == 0);
  return out.str();
}

}  // namespace kindred::test
