#include "harness/sha256.h"

#include <openssl/evp.h>

#include <bit>

#include "autodiff/check.h"

namespace kindred::harness {

static_assert(std::endian::native == std::endian::little,
              "digests and snapshots are little-endian");

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (!state_->context || EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) != 1)
    fail(Fault::io, "sha256", "OpenSSL cannot start a SHA-256 digest");
}
Sha256::~Sha256() = default;

Sha256& Sha256::update(const void* bytes, std::size_t count) {
  if (count > 0 && EVP_DigestUpdate(state_->context, bytes, count) != 1)
    fail(Fault::io, "sha256", "OpenSSL failed to hash ", count, " bytes");
  return *this;
}

Digest Sha256::digest() {
  Digest out;
  if (EVP_DigestFinal_ex(state_->context, out.data(), nullptr) != 1)
    fail(Fault::io, "sha256", "OpenSSL failed to finish a digest");
  return out;
}

std::string hex(const Digest& digest) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (uint8_t byte : digest) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
  return out;
}

std::string sha256_hex(std::string_view bytes) { return hex(Sha256().update(bytes).digest()); }

}  // namespace kindred::harness
