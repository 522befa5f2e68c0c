// SHA-256 (FIPS 180-4) by OpenSSL: digests of tensors, configurations and files.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace kindred::harness {

using Digest = std::array<uint8_t, 32>;

/// Running hash: update any number of times, then digest() once.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  Sha256& update(const void* bytes, std::size_t count);
  Sha256& update(std::string_view bytes) { return update(bytes.data(), bytes.size()); }
  /// Little-endian value.
  Sha256& update(uint64_t value) { return update(&value, sizeof value); }
  Digest digest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// 64 lower-case hexadecimal digits.
std::string hex(const Digest& digest);
/// hex(SHA-256) of a string.
std::string sha256_hex(std::string_view bytes);

}  // namespace kindred::harness
