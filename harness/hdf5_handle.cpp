#include "harness/hdf5_handle.h"

#include <cctype>
#include <cstdint>
#include <vector>

#include "autodiff/check.h"

namespace kindred::harness {

void quiet_hdf5() { H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr); }

std::string hdf5_reason() {
  std::string reason;
  const auto first = [](unsigned, const H5E_error2_t* error, void* out) -> herr_t {
    auto& text = *static_cast<std::string*>(out);
    if (text.empty() && error->desc) text = error->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first, &reason);
  H5Eclear2(H5E_DEFAULT);
  return reason.empty() ? "no reason given" : reason;
}

namespace {
struct Scalar {
  const char* tag;
  hid_t id;
};
std::vector<Scalar> scalars() {
  return {{"f32", H5T_IEEE_F32LE}, {"f64", H5T_IEEE_F64LE}, {"i32", H5T_STD_I32LE},
          {"i64", H5T_STD_I64LE},  {"u32", H5T_STD_U32LE},  {"u64", H5T_STD_U64LE},
          {"u8", H5T_STD_U8LE}};
}

/// Recursive descent over a tag; `at` moves behind what was read.
class TagParser {
 public:
  explicit TagParser(const std::string& tag) : tag_(tag) {}
  Hdf5Handle parse() {
    Hdf5Handle type = value();
    check(at_ == tag_.size(), "hdf5", "data type ", tag_, " has trailing text");
    return type;
  }

 private:
  Hdf5Handle value() {
    Hdf5Handle type = tag_[at_] == '{' ? compound() : atom();
    if (take('[')) {
      const hsize_t count = number();
      expect(']');
      type = Hdf5Handle(H5Tarray_create2(type, 1, &count));
    }
    return type;
  }
  Hdf5Handle atom() {
    if (tag_.compare(at_, 3, "str") == 0) {
      at_ += 3;
      Hdf5Handle type(H5Tcopy(H5T_C_S1));
      H5Tset_size(type, number());
      H5Tset_strpad(type, H5T_STR_NULLPAD);
      H5Tset_cset(type, H5T_CSET_UTF8);
      return type;
    }
    for (const auto& scalar : scalars()) {
      const std::string name = scalar.tag;
      if (tag_.compare(at_, name.size(), name) == 0) {
        at_ += name.size();
        return Hdf5Handle(H5Tcopy(scalar.id));
      }
    }
    fail(Fault::usage, "hdf5", "unknown data type ", tag_);
  }
  Hdf5Handle compound() {
    std::vector<std::pair<std::string, Hdf5Handle>> fields;
    std::size_t size = 0;
    expect('{');
    do {
      const auto colon = tag_.find(':', at_);
      check(colon != std::string::npos, "hdf5", "data type ", tag_, " lacks a ':'");
      std::string name = tag_.substr(at_, colon - at_);
      at_ = colon + 1;
      fields.emplace_back(std::move(name), value());
      size += H5Tget_size(fields.back().second);
    } while (take(','));
    expect('}');
    Hdf5Handle type(H5Tcreate(H5T_COMPOUND, size));
    std::size_t offset = 0;
    for (const auto& [name, field] : fields) {
      H5Tinsert(type, name.c_str(), offset, field);
      offset += H5Tget_size(field);
    }
    return type;
  }
  bool take(char c) {
    if (at_ >= tag_.size() || tag_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) { check(take(c), "hdf5", "data type ", tag_, " lacks '", c, "'"); }
  std::size_t number() {
    std::size_t n = 0;
    while (at_ < tag_.size() && std::isdigit(static_cast<unsigned char>(tag_[at_])))
      n = 10 * n + static_cast<std::size_t>(tag_[at_++] - '0');
    check(n > 0, "hdf5", "data type ", tag_, " lacks a size");
    return n;
  }

  const std::string& tag_;
  std::size_t at_ = 0;
};

std::string array_tag(hid_t type) {
  hsize_t count = 0;
  if (H5Tget_array_ndims(type) != 1) return "";
  H5Tget_array_dims2(type, &count);
  const std::string base = hdf5_tag(Hdf5Handle(H5Tget_super(type)));
  return base.empty() ? "" : base + "[" + std::to_string(count) + "]";
}

std::string compound_tag(hid_t type) {
  std::string tag = "{";
  std::size_t packed = 0;
  const int count = H5Tget_nmembers(type);
  for (int i = 0; i < count; ++i) {
    const auto member = static_cast<unsigned>(i);
    const Hdf5Handle field(H5Tget_member_type(type, member));
    char* name = H5Tget_member_name(type, member);
    const std::string inner = hdf5_tag(field);
    if (name && !inner.empty() && H5Tget_member_offset(type, member) == packed)
      tag += (i ? "," : "") + std::string(name) + ":" + inner;
    else
      packed = SIZE_MAX / 2;  // not packed: no tag
    H5free_memory(name);
    packed += H5Tget_size(field);
  }
  return packed == H5Tget_size(type) ? tag + "}" : "";
}
}  // namespace

Hdf5Handle hdf5_type(const std::string& tag) { return TagParser(tag).parse(); }

std::string hdf5_tag(hid_t type) {
  switch (H5Tget_class(type)) {
    case H5T_STRING:
      return H5Tis_variable_str(type) > 0 ? "" : "str" + std::to_string(H5Tget_size(type));
    case H5T_ARRAY:
      return array_tag(type);
    case H5T_COMPOUND:
      return compound_tag(type);
    default:
      for (const auto& scalar : scalars())
        if (H5Tequal(type, scalar.id) > 0) return scalar.tag;
      return "";
  }
}

}  // namespace kindred::harness
