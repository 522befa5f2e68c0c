#include "data/file.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <limits>

#include "autodiff/check.h"

namespace kindred::data {

namespace {
constexpr const char* kWhere = "data";

std::array<unsigned char, 32> digest(std::string_view bytes) {
  std::array<unsigned char, 32> out{};
  unsigned length = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), out.data(), &length, EVP_sha256(), nullptr) != 1 ||
      length != out.size())
    fail(Fault::io, kWhere, "SHA-256 is not available in this OpenSSL");
  return out;
}
}  // namespace

std::string read_file(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    fail(Fault::data, kWhere, path.string(), ": no such file");
  if (!std::filesystem::is_regular_file(path, error))
    fail(Fault::data, kWhere, path.string(), ": not a regular file");
  std::ifstream in(path, std::ios::binary);
  if (!in) fail(Fault::data, kWhere, path.string(), ": cannot be opened: ", std::strerror(errno));
  std::string bytes(std::filesystem::file_size(path), '\0');
  in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  if (in.gcount() != static_cast<std::streamsize>(bytes.size()))
    fail(Fault::data, kWhere, path.string(), ": read ", in.gcount(), " of ", bytes.size(),
         " bytes");
  return bytes;
}

void write_file(const std::filesystem::path& path, std::string_view bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0)
    fail(Fault::io, kWhere, path.string(), ": cannot be written: ", std::strerror(errno));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(file, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<std::size_t>(n);
  }
  const bool written = done == bytes.size() && ::fsync(file) == 0;
  const int reason = errno;
  const bool closed = ::close(file) == 0;
  if (!written || !closed)
    fail(Fault::io, kWhere, path.string(), ": cannot be written: ", std::strerror(reason));
}

std::string gunzip(std::string bytes, const std::string& origin) {
  if (bytes.size() < 2 || bytes[0] != '\x1f' || bytes[1] != '\x8b') return bytes;
  z_stream stream{};
  if (inflateInit2(&stream, MAX_WBITS + 16) != Z_OK) fail(Fault::io, kWhere, "zlib cannot start");
  struct End {
    z_stream& s;
    ~End() { inflateEnd(&s); }
  } end{stream};
  std::string out;
  std::array<char, 1 << 16> chunk;
  std::size_t fed = 0;
  const auto offset = [&] { return fed - stream.avail_in; };
  for (;;) {
    if (stream.avail_in == 0 && fed < bytes.size()) {
      const std::size_t part =
          std::min<std::size_t>(bytes.size() - fed, std::numeric_limits<uInt>::max());
      stream.next_in = reinterpret_cast<Bytef*>(bytes.data() + fed);
      stream.avail_in = static_cast<uInt>(part);
      fed += part;
    }
    stream.next_out = reinterpret_cast<Bytef*>(chunk.data());
    stream.avail_out = static_cast<uInt>(chunk.size());
    const int status = inflate(&stream, Z_NO_FLUSH);
    out.append(chunk.data(), chunk.size() - stream.avail_out);
    if (status == Z_STREAM_END) {
      if (stream.avail_in == 0 && fed == bytes.size()) return out;
      if (inflateReset(&stream) != Z_OK) fail(Fault::io, kWhere, "zlib cannot restart");
    } else if (status == Z_BUF_ERROR && stream.avail_in == 0 && fed == bytes.size()) {
      fail(Fault::data, kWhere, origin, ": gzip data end early, after ", bytes.size(),
           " compressed bytes; the file is truncated");
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      fail(Fault::data, kWhere, origin, ": damaged gzip data near compressed byte ", offset(), ": ",
           stream.msg ? stream.msg : "bad stream");
    }
  }
}

std::string sha256(std::string_view bytes) {
  std::string text;
  for (unsigned char b : digest(bytes)) {
    text += "0123456789abcdef"[b >> 4];
    text += "0123456789abcdef"[b & 15];
  }
  return text;
}

uint64_t sha256_key(std::string_view bytes) {
  const auto d = digest(bytes);
  uint64_t key = 0;
  for (int i = 0; i < 8; ++i) key = key << 8 | d[i];
  return key;
}

}  // namespace kindred::data
