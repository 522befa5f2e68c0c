// Hdf5Writer: libhdf5's core driver writes into a buffer that we own and keep when it closes.
#include <hdf5_hl.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <set>

#include "harness/hdf5_handle.h"
#include "harness/hdf5_image.h"

namespace kindred::harness {

namespace {
constexpr std::size_t kIncrement = 64 << 10;
constexpr std::size_t kChunkBytes = 1 << 20;
constexpr std::size_t kChunkedFrom =
    64;  // smaller data sets lie in the object header, which has a checksum
constexpr hsize_t kSeriesChunk = 1024;

void ok(herr_t status, const char* what, const std::string& path) {
  if (status < 0) fail(Fault::snapshot, "hdf5", "cannot ", what, " ", path, ": ", hdf5_reason());
}
Hdf5Handle ok(Hdf5Handle handle, const char* what, const std::string& path) {
  ok(handle < 0 ? -1 : 0, what, path);
  return handle;
}

/// Grows by doubling: libhdf5 asks for 64 KiB more at a time.
struct ImageBuffer {
  char* data = nullptr;
  std::size_t size = 0, capacity = 0;
  ~ImageBuffer() { std::free(data); }

  void* resize(std::size_t wanted) {
    if (wanted > capacity) {
      const std::size_t larger = std::max(wanted, 2 * capacity);
      auto* moved = static_cast<char*>(std::realloc(data, larger));
      if (!moved) return nullptr;
      data = moved;
      capacity = larger;
    }
    size = wanted;
    return data;
  }
};

H5FD_file_image_callbacks_t callbacks_for(ImageBuffer& buffer) {
  H5FD_file_image_callbacks_t calls{};
  calls.image_malloc = [](size_t size, H5FD_file_image_op_t, void* b) {
    return static_cast<ImageBuffer*>(b)->resize(size);
  };
  calls.image_memcpy = [](void* to, const void* from, size_t size, H5FD_file_image_op_t, void*) {
    return std::memcpy(to, from, size);
  };
  calls.image_realloc = [](void*, size_t size, H5FD_file_image_op_t, void* b) {
    return static_cast<ImageBuffer*>(b)->resize(size);
  };
  calls.image_free = [](void*, H5FD_file_image_op_t, void*) -> herr_t { return 0; };
  calls.udata_copy = [](void* b) { return b; };
  calls.udata_free = [](void*) -> herr_t { return 0; };
  calls.udata = &buffer;
  return calls;
}

Hdf5Handle properties(hid_t kind) {
  Hdf5Handle list(H5Pcreate(kind));
  H5Pset_obj_track_times(list, false);
  if (kind != H5P_DATASET_CREATE)
    H5Pset_link_creation_order(list, H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED);
  return list;
}

Hdf5Handle space_of(const std::vector<uint64_t>& shape, bool unlimited) {
  if (shape.empty()) return Hdf5Handle(H5Screate(H5S_SCALAR));
  const std::vector<hsize_t> dims(shape.begin(), shape.end());
  std::vector<hsize_t> most = dims;
  if (unlimited) most[0] = H5S_UNLIMITED;
  return Hdf5Handle(H5Screate_simple(static_cast<int>(dims.size()), dims.data(), most.data()));
}

/// Cuts the leading dimensions into even parts until a chunk fits.
std::vector<hsize_t> chunk_of(const std::vector<uint64_t>& shape, std::size_t element) {
  std::vector<hsize_t> chunk(shape.begin(), shape.end());
  for (auto& d : chunk) {
    std::size_t bytes = element;
    for (hsize_t n : chunk) bytes *= n;
    if (bytes <= kChunkBytes) break;
    const hsize_t parts = std::min<hsize_t>(d, (bytes + kChunkBytes - 1) / kChunkBytes);
    d = (d + parts - 1) / parts;
  }
  return chunk;
}

std::string little_endian(uint64_t value) { return {reinterpret_cast<const char*>(&value), 8}; }
}  // namespace

struct Hdf5Writer::State {
  ImageBuffer buffer;  // outlives the file
  Hdf5Handle file;
  std::set<std::string> groups{"/"};
  struct Row {
    Digest digest;
    uint64_t bytes;
  };
  std::map<std::string, Row> rows;

  void record(const std::string& path, std::string_view dtype, const std::vector<uint64_t>& shape,
              std::string_view bytes) {
    check(path.size() < 256, "hdf5", "path longer than 255 bytes: ", path);
    check(rows.emplace(path, Row{object_digest(path, dtype, shape, bytes), bytes.size()}).second,
          "hdf5", path, " is written twice");
  }
  void make_parents(const std::string& path) {
    check(path.size() > 1 && path[0] == '/', "hdf5", "path must be absolute: ", path);
    for (auto slash = path.find('/', 1); slash != std::string::npos;
         slash = path.find('/', slash + 1))
      make_group(path.substr(0, slash));
  }
  void make_group(const std::string& path) {
    if (!groups.insert(path).second) return;
    ok(Hdf5Handle(
           H5Gcreate2(file, path.c_str(), H5P_DEFAULT, properties(H5P_GROUP_CREATE), H5P_DEFAULT)),
       "make group", path);
  }
  void store(const std::string& path, const std::string& dtype, const std::vector<uint64_t>& shape,
             std::string_view bytes, Hdf5Storage storage) {
    make_parents(path);
    const Hdf5Handle type = hdf5_type(dtype);
    const std::size_t element = H5Tget_size(type);
    const Hdf5Handle list = properties(H5P_DATASET_CREATE);
    if (storage == Hdf5Storage::series) {
      H5Pset_chunk(list, 1, &kSeriesChunk);
      H5Pset_shuffle(list);
      H5Pset_deflate(list, 1);
      H5Pset_fletcher32(list);
    } else if (bytes.size() < kChunkedFrom) {
      if (!bytes.empty()) H5Pset_layout(list, H5D_COMPACT);
    } else if (!shape.empty()) {
      const auto chunk = chunk_of(shape, element);
      H5Pset_chunk(list, static_cast<int>(chunk.size()), chunk.data());
      H5Pset_fletcher32(list);
    }
    const Hdf5Handle space = space_of(shape, storage == Hdf5Storage::series);
    const auto set =
        ok(Hdf5Handle(H5Dcreate2(file, path.c_str(), type, space, H5P_DEFAULT, list, H5P_DEFAULT)),
           "make", path);
    if (!bytes.empty())
      ok(H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, bytes.data()), "write", path);
  }
  void store_attribute(const std::string& object, const std::string& name, const Hdf5Value& value) {
    const auto owner = ok(Hdf5Handle(H5Oopen(file, object.c_str(), H5P_DEFAULT)), "open", object);
    const Hdf5Handle type = hdf5_type(value.dtype);
    const auto attribute =
        ok(Hdf5Handle(H5Acreate2(owner, name.c_str(), type, space_of(value.shape, false),
                                 H5P_DEFAULT, H5P_DEFAULT)),
           "make attribute", object + "@" + name);
    if (!value.bytes.empty())
      ok(H5Awrite(attribute, type, value.bytes.data()), "write attribute", object + "@" + name);
  }
};

Hdf5Writer::Hdf5Writer() : state_(std::make_unique<State>()) {
  static std::atomic<uint64_t> count{0};
  quiet_hdf5();
  const Hdf5Handle access(H5Pcreate(H5P_FILE_ACCESS));
  auto calls = callbacks_for(state_->buffer);
  ok(H5Pset_fapl_core(access, kIncrement, false), "choose", "core driver");
  ok(H5Pset_file_image_callbacks(access, &calls), "set", "image callbacks");
  ok(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110), "set", "format bounds");
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
  // The name must be new in this process and is stored nowhere.
  const std::string name = "/kindred-image-" + std::to_string(count++);
  state_->file =
      ok(Hdf5Handle(H5Fcreate(name.c_str(), H5F_ACC_EXCL, properties(H5P_FILE_CREATE), access)),
         "create", "image");
}
Hdf5Writer::~Hdf5Writer() = default;

void Hdf5Writer::group(const std::string& path) {
  state_->make_parents(path);
  state_->make_group(path);
}

void Hdf5Writer::dataset(const std::string& path, const Hdf5Value& value, Hdf5Storage storage) {
  state_->record(path, value.dtype, value.shape, value.bytes);
  state_->store(path, value.dtype, value.shape, value.bytes, storage);
}

void Hdf5Writer::dataset(const std::string& path, const Tensor& tensor) {
  const std::vector<uint64_t> shape(tensor.shape().begin(), tensor.shape().end());
  const std::string_view bytes(static_cast<const char*>(tensor.raw()), tensor.bytes());
  state_->record(path, name(tensor.dtype()), shape, bytes);
  state_->store(path, name(tensor.dtype()), shape, bytes, Hdf5Storage::plain);
}

void Hdf5Writer::attribute(const std::string& object, const std::string& name,
                           const Hdf5Value& value) {
  state_->record(object + "@" + name, value.dtype, value.shape, value.bytes);
  state_->store_attribute(object, name, value);
}

void Hdf5Writer::soft_link(const std::string& path, const std::string& target) {
  state_->make_parents(path);
  state_->record(path, "link", {}, target);
  ok(H5Lcreate_soft(target.c_str(), state_->file, path.c_str(), H5P_DEFAULT, H5P_DEFAULT), "link",
     path);
}

void Hdf5Writer::dimension_scale(const std::string& path, const std::string& scale) {
  const auto set = ok(Hdf5Handle(H5Dopen2(state_->file, path.c_str(), H5P_DEFAULT)), "open", path);
  const auto axis =
      ok(Hdf5Handle(H5Dopen2(state_->file, scale.c_str(), H5P_DEFAULT)), "open", scale);
  if (H5DSis_scale(axis) <= 0) ok(H5DSset_scale(axis, nullptr), "make a scale of", scale);
  ok(H5DSattach_scale(set, axis, 0), "attach scale to", path);
}

std::string Hdf5Writer::finish() {
  State& s = *state_;
  Hdf5Value table{"{path:str256,sha256:u8[32],nbytes:u64}", {s.rows.size()}, ""};
  Sha256 root;
  for (const auto& [path, row] : s.rows) {
    table.bytes += path + std::string(256 - path.size(), '\0');
    table.bytes.append(row.digest.begin(), row.digest.end());
    table.bytes += little_endian(row.bytes);
    root.update(path).update("", 1).update(row.digest.data(), row.digest.size()).update(row.bytes);
  }
  s.store("/digests", table.dtype, table.shape, table.bytes, Hdf5Storage::series);
  const Digest digest = root.digest();
  s.store_attribute("/", "root_digest", {"u8", {32}, {digest.begin(), digest.end()}});
  ok(H5Fflush(s.file, H5F_SCOPE_GLOBAL), "flush", "image");
  s.file = Hdf5Handle();

  // The buffer is padded to the increment; the superblock (version 2 or 3) holds the true end.
  uint64_t end = 0;
  check(s.buffer.size > 48 && std::memcmp(s.buffer.data, "\x89HDF\r\n\x1a\n", 8) == 0, "hdf5",
        "no image was kept");
  std::memcpy(&end, s.buffer.data + 28, 8);
  check(end >= 48 && end <= s.buffer.size, "hdf5", "image of ", s.buffer.size, " bytes ends at ",
        end);
  std::string image(s.buffer.data, end);
  image += "kindred-sha256:1";
  image += little_endian(end);
  const Digest whole = Sha256().update(image).digest();
  image.append(whole.begin(), whole.end());
  return image;
}

}  // namespace kindred::harness
