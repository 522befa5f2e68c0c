// Runs another program without a shell and keeps what it writes.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

namespace kindred::data {

struct ProcessResult {
  int status = 0;  ///< exit code; 128 + signal; 127 if the program was not found
  std::string output, errors;
};

/// Runs `arguments` (the first is looked up in PATH unless it has a slash) in `directory` with an
/// empty standard input, and waits for it.
ProcessResult run_program(const std::vector<std::string>& arguments,
                          const std::filesystem::path& directory);

}  // namespace kindred::data
