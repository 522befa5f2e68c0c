// HDF5 files built and read in memory. libhdf5 1.10 crashes when the disk fills while it writes, so
// images are made with its core driver and image callbacks and stored by atomic_write. The same
// content gives the same bytes. Format bounds v110: metadata carries checksums.
//
// Every data set and attribute has a digest: SHA-256 over (path, 0, dtype tag, 0, rank, dimensions
// as u64, little-endian bytes in C order). They are listed in /digests, whose own digest is the
// root attribute root_digest: independent of chunks and filters, so h5repack keeps it. A trailer
// behind the HDF5 data ("kindred-sha256:1", u64 size, SHA-256 of all before) also catches damage to
// unused bytes; a file that lost it in h5repack is still read by its digests.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autodiff/tensor.h"
#include "harness/sha256.h"

namespace kindred::harness {

/// Data type, dimensions and packed little-endian bytes of a data set or an attribute.
struct Hdf5Value {
  std::string dtype;  ///< "f32" "f64" "i32" "u64" "u8" "str12" or "{name:str32,key:u64}"
  std::vector<uint64_t> shape;
  std::string bytes;

  static Hdf5Value of(const Tensor& tensor);
  static Hdf5Value of(const std::string& text);
  static Hdf5Value of(uint64_t value);
  static Hdf5Value of(uint8_t value);
  static Hdf5Value of(double value);
  static Hdf5Value of(const std::vector<double>& values);
  static Hdf5Value of(const std::vector<uint64_t>& values);
  /// Fixed-length strings, all as long as the longest.
  static Hdf5Value of(const std::vector<std::string>& texts);

  /// The value back; a usage error if the type is another.
  Tensor tensor() const;
  std::string text() const;
  uint64_t u64() const;
  uint8_t u8() const;
  double f64() const;
  std::vector<double> f64s() const;
  std::vector<uint64_t> u64s() const;
  std::vector<std::string> texts() const;
};

/// How a data set is stored. Those of 64 bytes or more are chunked (<= 1 MiB) with Fletcher32.
enum class Hdf5Storage {
  plain,
  series,  ///< unlimited first axis, chunks of 1024, shuffle + gzip 1
};

/// Makes an image. Paths are absolute: "/params/a/weight"; parents are made on the way.
class Hdf5Writer {
 public:
  Hdf5Writer();
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;
  void group(const std::string& path);
  /// The bytes may be given apart from the value (a tensor's own buffer), to save a copy.
  void dataset(const std::string& path, const Hdf5Value& value,
               Hdf5Storage storage = Hdf5Storage::plain);
  void dataset(const std::string& path, const Tensor& tensor);
  /// Attribute of an existing object ("/" for the root).
  void attribute(const std::string& object, const std::string& name, const Hdf5Value& value);
  void soft_link(const std::string& path, const std::string& target);
  /// Makes `scale` (1-D) the dimension scale of the first axis of the data set `path`.
  void dimension_scale(const std::string& path, const std::string& scale);
  /// Writes /digests and root_digest, closes, and returns the image with its trailer. Call once.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Reads an image. All errors are Fault::snapshot, begin with `origin` and name the object.
class Hdf5Reader {
 public:
  /// Checks the trailer and opens. `bytes` must stay alive.
  Hdf5Reader(std::string_view bytes, std::string origin);
  ~Hdf5Reader();
  Hdf5Reader(const Hdf5Reader&) = delete;
  Hdf5Reader& operator=(const Hdf5Reader&) = delete;
  /// Root attribute before verify(), to tell format and version; undefined text ("") if missing.
  Hdf5Value root_attribute(const std::string& name) const;
  /// Compares root_digest and every object of /digests. Later reads see verified objects only.
  void verify();
  const Digest& root_digest() const;
  /// Digests by path; attributes as "object@name".
  const std::map<std::string, Digest>& digests() const;
  bool has(const std::string& path) const;
  Hdf5Value dataset(const std::string& path) const;
  Hdf5Value attribute(const std::string& object, const std::string& name) const;
  /// Verified data sets below a group in creation order, depth first, without soft links; paths
  /// relative to the group: "a/weight".
  std::vector<std::string> datasets_below(const std::string& group) const;
  /// Child names of a group in creation order; empty if there is no such group.
  std::vector<std::string> children(const std::string& group) const;
  /// Where a soft link points; "" if `path` is no soft link.
  std::string link_target(const std::string& path) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The digest of one object (see above).
Digest object_digest(const std::string& path, std::string_view dtype,
                     const std::vector<uint64_t>& shape, std::string_view bytes);

}  // namespace kindred::harness
