// Help for the tests of the data room: a folder of their own, file contents, and thrown messages.
#pragma once
#include <zlib.h>

#include <catch2/catch.hpp>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "autodiff/check.h"
#include "data/file.h"

namespace kindred::testing {

/// A folder that is removed at the end.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "kindred-data-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    data::write_file(path_ / name, bytes);
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

/// Compresses by zlib's gzip writer.
inline std::string gzip(const std::string& bytes) {
  z_stream s{};
  REQUIRE(deflateInit2(&s, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  std::string out(deflateBound(&s, bytes.size()) + 64, '\0');
  s.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  s.avail_in = static_cast<uInt>(bytes.size());
  s.next_out = reinterpret_cast<Bytef*>(out.data());
  s.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&s, Z_FINISH) == Z_STREAM_END);
  out.resize(s.total_out);
  deflateEnd(&s);
  return out;
}

/// IDX bytes: dimensions, then elements.
inline std::string idx(const std::vector<uint32_t>& dims, const std::vector<uint8_t>& elements) {
  std::string out{'\0', '\0', '\x08', static_cast<char>(dims.size())};
  for (uint32_t n : dims)
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(n >> shift);
  return out + std::string(elements.begin(), elements.end());
}

/// The message of the Error that f throws; fails unless its fault is the expected one.
template <class F>
std::string message_of(Fault fault, F&& f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.fault() == fault);
    return e.what();
  }
  FAIL_CHECK("nothing was thrown");
  return "";
}

inline auto has(const std::string& part) { return Catch::Matchers::Contains(part); }

}  // namespace kindred::testing
