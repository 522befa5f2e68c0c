// Whole files in memory, gzip, and SHA-256. Every error names the path.
#pragma once
#include <filesystem>
#include <string>
#include <string_view>

namespace kindred::data {

/// The bytes of a file. Throws Fault::data if it is missing or cannot be read.
std::string read_file(const std::filesystem::path& path);

/// Writes and syncs a file; throws Fault::io. Not atomic: callers write into a folder of their own
/// and rename that.
void write_file(const std::filesystem::path& path, std::string_view bytes);

/// Inflates gzip data (RFC 1952, several members allowed); anything else is returned as it is.
/// Throws Fault::data for a stream that is damaged or ends early; `origin` is named in the error.
std::string gunzip(std::string bytes, const std::string& origin);

/// SHA-256 as 64 lower-case hexadecimal digits.
std::string sha256(std::string_view bytes);
/// The first eight bytes of the SHA-256, most significant first: a key for splits by content.
uint64_t sha256_key(std::string_view bytes);

}  // namespace kindred::data
