// Hdf5Reader: opens an image where it lies in memory and hands out only what its digests vouch for.
#include <algorithm>
#include <atomic>
#include <cstring>

#include "harness/hdf5_handle.h"
#include "harness/hdf5_image.h"

namespace kindred::harness {

namespace {
constexpr std::string_view kTrailerMark = "kindred-sha256:1";
constexpr std::size_t kTrailer = 16 + 8 + 32;

std::vector<uint64_t> dims_of(hid_t space) {
  const int rank = H5Sget_simple_extent_ndims(space);
  std::vector<hsize_t> dims(static_cast<std::size_t>(std::max(rank, 0)));
  if (rank > 0) H5Sget_simple_extent_dims(space, dims.data(), nullptr);
  return {dims.begin(), dims.end()};
}

std::string::size_type bytes_needed(hid_t type, const std::vector<uint64_t>& shape) {
  std::size_t bytes = H5Tget_size(type);
  for (uint64_t d : shape) bytes *= d;
  return bytes;
}
/// Lets the core driver work on the bytes where they lie: it never copies, moves or frees them.
/// (H5LTopen_file_image can do the same, but leaks its bookkeeping at every call.)
H5FD_file_image_callbacks_t borrow(std::string_view& image) {
  H5FD_file_image_callbacks_t calls{};
  calls.image_malloc = [](size_t size, H5FD_file_image_op_t, void* v) -> void* {
    const auto& bytes = *static_cast<std::string_view*>(v);
    return size == bytes.size() ? const_cast<char*>(bytes.data()) : nullptr;
  };
  calls.image_memcpy = [](void* to, const void* from, size_t, H5FD_file_image_op_t, void*) {
    return to == from ? to : nullptr;
  };
  calls.image_realloc = [](void*, size_t, H5FD_file_image_op_t, void*) -> void* { return nullptr; };
  calls.image_free = [](void*, H5FD_file_image_op_t, void*) -> herr_t { return 0; };
  calls.udata_copy = [](void* v) { return v; };
  calls.udata_free = [](void*) -> herr_t { return 0; };
  calls.udata = &image;
  return calls;
}

Hdf5Handle open_image(std::string_view& image) {
  static std::atomic<uint64_t> count{0};
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS));
  auto calls = borrow(image);
  if (H5Pset_fapl_core(access, 64 << 10, false) < 0 ||
      H5Pset_file_image_callbacks(access, &calls) < 0 ||
      H5Pset_file_image(access, const_cast<char*>(image.data()), image.size()) < 0)
    return Hdf5Handle();
  // A name that no other open image has; there is no such file.
  const std::string name = "/kindred-borrowed-" + std::to_string(count++);
  return Hdf5Handle(H5Fopen(name.c_str(), H5F_ACC_RDONLY, access));
}
}  // namespace

struct Hdf5Reader::State {
  std::string origin;
  std::string_view image;  // outlives the file
  Hdf5Handle file;
  std::map<std::string, Digest> digests;
  Digest root{};

  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(Fault::snapshot, "snapshot", origin, ": ", parts...);
  }

  /// The HDF5 part of the file, after the trailer, if there is one, has been checked.
  std::string_view checked(std::string_view bytes) const {
    if (bytes.size() < 48 + kTrailer) refuse("too short for a snapshot (", bytes.size(), " bytes)");
    if (std::memcmp(bytes.data(), "\x89HDF\r\n\x1a\n", 8) != 0)
      refuse("not an HDF5 file, or its first bytes are damaged");
    uint64_t end = 0;
    std::memcpy(&end, bytes.data() + 28, 8);
    if (end == bytes.size()) return bytes;  // rewritten by h5repack
    const std::string_view trailer = bytes.substr(bytes.size() - kTrailer);
    uint64_t size = 0;
    std::memcpy(&size, trailer.data() + kTrailerMark.size(), 8);
    if (!trailer.starts_with(kTrailerMark) || size != bytes.size() - kTrailer || end != size)
      refuse("cut off, or damaged at its end (", bytes.size(), " bytes)");
    const Digest digest = Sha256().update(bytes.substr(0, size + 24)).digest();
    if (std::memcmp(digest.data(), trailer.data() + 24, digest.size()) != 0)
      refuse("damaged: the SHA-256 of the file differs from its trailer");
    return bytes.substr(0, size);
  }

  Hdf5Value read_dataset(const std::string& path) const {
    const Hdf5Handle set(H5Dopen2(file, path.c_str(), H5P_DEFAULT));
    if (set < 0) refuse("cannot open ", path, ": ", hdf5_reason());
    const Hdf5Handle type(H5Dget_type(set)), space(H5Dget_space(set));
    Hdf5Value value{hdf5_tag(type), dims_of(space), ""};
    if (value.dtype.empty()) refuse(path, " has an unknown data type");
    const std::size_t bytes = bytes_needed(type, value.shape);
    if (bytes > 0 && H5Sget_simple_extent_npoints(space) > 0) {
      value.bytes.resize(bytes);
      if (H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, value.bytes.data()) < 0)
        refuse("cannot read ", path, ": ", hdf5_reason());
    }
    return value;
  }

  Hdf5Value read_attribute(const std::string& object, const std::string& name) const {
    const Hdf5Handle attribute(
        H5Aopen_by_name(file, object.c_str(), name.c_str(), H5P_DEFAULT, H5P_DEFAULT));
    if (attribute < 0) refuse("cannot open attribute ", object, "@", name, ": ", hdf5_reason());
    const Hdf5Handle type(H5Aget_type(attribute)), space(H5Aget_space(attribute));
    Hdf5Value value{hdf5_tag(type), dims_of(space), ""};
    if (value.dtype.empty()) refuse("attribute ", object, "@", name, " has an unknown data type");
    const std::size_t bytes = bytes_needed(type, value.shape);
    if (bytes > 0) {
      value.bytes.resize(bytes);
      if (H5Aread(attribute, type, value.bytes.data()) < 0)
        refuse("cannot read attribute ", object, "@", name, ": ", hdf5_reason());
    }
    return value;
  }

  std::string read_link(const std::string& path) const {
    H5L_info_t info{};
    if (H5Lget_info(file, path.c_str(), &info, H5P_DEFAULT) < 0 || info.type != H5L_TYPE_SOFT) {
      H5Eclear2(H5E_DEFAULT);
      return "";
    }
    std::string target(info.u.val_size, '\0');
    H5Lget_val(file, path.c_str(), target.data(), target.size(), H5P_DEFAULT);
    return target.substr(0, target.find('\0'));
  }

  std::vector<std::string> children(const std::string& group) const {
    std::vector<std::string> names;
    const auto add = [](hid_t, const char* name, const H5L_info_t*, void* out) -> herr_t {
      static_cast<std::vector<std::string>*>(out)->emplace_back(name);
      return 0;
    };
    const Hdf5Handle g(H5Gopen2(file, group.c_str(), H5P_DEFAULT));
    if (g >= 0 && H5Literate(g, H5_INDEX_CRT_ORDER, H5_ITER_INC, nullptr, add, &names) < 0) {
      names.clear();  // another program rewrote the group without its order
      H5Literate(g, H5_INDEX_NAME, H5_ITER_INC, nullptr, add, &names);
    }
    H5Eclear2(H5E_DEFAULT);
    return names;
  }

  void list(const std::string& root_path, const std::string& relative,
            std::vector<std::string>& out) const {
    const std::string here = relative.empty() ? root_path : root_path + "/" + relative;
    for (const auto& name : children(here)) {
      const std::string inner = relative.empty() ? name : relative + "/" + name;
      const std::string full = root_path + "/" + inner;
      if (!read_link(full).empty()) continue;
      H5O_info_t info{};
      if (H5Oget_info_by_name2(file, full.c_str(), &info, H5O_INFO_BASIC, H5P_DEFAULT) < 0)
        refuse("cannot open ", full, ": ", hdf5_reason());
      if (info.type == H5O_TYPE_GROUP) list(root_path, inner, out);
      if (info.type == H5O_TYPE_DATASET && digests.contains(full)) out.push_back(inner);
    }
  }

  void require(const std::string& path) const {
    if (!digests.contains(path)) refuse(path, " is missing");
  }
};

Hdf5Reader::Hdf5Reader(std::string_view bytes, std::string origin)
    : state_(std::make_unique<State>()) {
  quiet_hdf5();
  state_->origin = std::move(origin);
  state_->image = state_->checked(bytes);
  state_->file = open_image(state_->image);
  if (state_->file < 0) state_->refuse("libhdf5 cannot open it: ", hdf5_reason());
}
Hdf5Reader::~Hdf5Reader() = default;

Hdf5Value Hdf5Reader::root_attribute(const std::string& name) const {
  if (H5Aexists(state_->file, name.c_str()) <= 0) {
    H5Eclear2(H5E_DEFAULT);
    return Hdf5Value::of(std::string());
  }
  return state_->read_attribute("/", name);
}

void Hdf5Reader::verify() {
  State& s = *state_;
  const Hdf5Value table = s.read_dataset("/digests");
  if (table.dtype != "{path:str256,sha256:u8[32],nbytes:u64}")
    s.refuse("/digests has type ", table.dtype);
  constexpr std::size_t kRow = 256 + 32 + 8;
  std::map<std::string, std::pair<Digest, uint64_t>> rows;
  Sha256 root;
  for (std::size_t at = 0; at + kRow <= table.bytes.size(); at += kRow) {
    const std::string path(table.bytes.data() + at, strnlen(table.bytes.data() + at, 255));
    auto& [digest, bytes] = rows[path];
    std::memcpy(digest.data(), table.bytes.data() + at + 256, 32);
    std::memcpy(&bytes, table.bytes.data() + at + 288, 8);
    root.update(path).update("", 1).update(digest.data(), digest.size()).update(bytes);
  }
  s.root = root.digest();
  const Hdf5Value stored = s.read_attribute("/", "root_digest");
  if (stored.bytes != std::string(s.root.begin(), s.root.end()))
    s.refuse("root_digest does not fit /digests");
  for (const auto& [path, row] : rows) {
    const auto at = path.find('@');
    const std::string target = s.read_link(path.substr(0, at));
    Digest found;
    if (!target.empty() && at == std::string::npos) {
      found = object_digest(path, "link", {}, target);
    } else {
      const Hdf5Value value = at == std::string::npos
                                  ? s.read_dataset(path)
                                  : s.read_attribute(path.substr(0, at), path.substr(at + 1));
      found = object_digest(path, value.dtype, value.shape, value.bytes);
    }
    if (found != row.first) s.refuse(path, " is damaged: its SHA-256 differs from /digests");
    s.digests.emplace(path, row.first);
  }
}

const Digest& Hdf5Reader::root_digest() const { return state_->root; }
const std::map<std::string, Digest>& Hdf5Reader::digests() const { return state_->digests; }
bool Hdf5Reader::has(const std::string& path) const { return state_->digests.contains(path); }

Hdf5Value Hdf5Reader::dataset(const std::string& path) const {
  state_->require(path);
  return state_->read_dataset(path);
}
Hdf5Value Hdf5Reader::attribute(const std::string& object, const std::string& name) const {
  state_->require(object + "@" + name);
  return state_->read_attribute(object, name);
}
std::vector<std::string> Hdf5Reader::datasets_below(const std::string& group) const {
  std::vector<std::string> out;
  state_->list(group, "", out);
  return out;
}
std::vector<std::string> Hdf5Reader::children(const std::string& group) const {
  return state_->children(group);
}
std::string Hdf5Reader::link_target(const std::string& path) const {
  return state_->read_link(path);
}

}  // namespace kindred::harness
