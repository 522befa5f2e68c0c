// Shared by the HDF5 writer and reader: handles that close themselves, errors with the library's
// own reason, and data types written as short tags ("f32", "str12", "{key:u64,sha256:u8[32]}").
#pragma once
#include <hdf5.h>

#include <string>
#include <utility>

namespace kindred::harness {

/// Any HDF5 identifier; released when it goes out of scope.
class Hdf5Handle {
 public:
  Hdf5Handle() = default;
  explicit Hdf5Handle(hid_t id) : id_(id) {}
  Hdf5Handle(Hdf5Handle&& o) noexcept : id_(std::exchange(o.id_, -1)) {}
  Hdf5Handle& operator=(Hdf5Handle&& o) noexcept {
    std::swap(id_, o.id_);
    return *this;
  }
  ~Hdf5Handle() {
    if (id_ >= 0) H5Idec_ref(id_);
  }
  operator hid_t() const { return id_; }

 private:
  hid_t id_ = -1;
};

/// Stops libhdf5 from printing errors to stderr; they are thrown instead.
void quiet_hdf5();
/// Innermost reason of the last failure, e.g. "unable to read superblock".
std::string hdf5_reason();

/// The HDF5 type of a tag and back. hdf5_type throws a usage error, hdf5_tag gives "" for a type
/// that has no tag (references, variable length, big-endian).
Hdf5Handle hdf5_type(const std::string& tag);
std::string hdf5_tag(hid_t type);

}  // namespace kindred::harness
