// Hdf5Value: conversions between C++ values and (dtype, shape, bytes).
#include <algorithm>
#include <cstring>

#include "harness/hdf5_image.h"

namespace kindred::harness {

namespace {
template <class T>
std::string bytes_of(const T* values, std::size_t count) {
  std::string bytes(count * sizeof(T), '\0');
  if (count > 0) std::memcpy(bytes.data(), values, bytes.size());
  return bytes;
}

template <class T>
std::vector<T> values_of(const Hdf5Value& value, const char* dtype) {
  check(value.dtype == dtype, "hdf5", "value is ", value.dtype, ", asked for ", dtype);
  std::vector<T> out(value.bytes.size() / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), value.bytes.data(), out.size() * sizeof(T));
  return out;
}

template <class T>
T only(const Hdf5Value& value, const char* dtype) {
  const auto all = values_of<T>(value, dtype);
  check(all.size() == 1, "hdf5", all.size(), " values where one belongs");
  return all[0];
}

std::vector<uint64_t> dims_of(const Shape& shape) { return {shape.begin(), shape.end()}; }
}  // namespace

Hdf5Value Hdf5Value::of(const Tensor& tensor) {
  return {name(tensor.dtype()), dims_of(tensor.shape()),
          bytes_of(static_cast<const char*>(tensor.raw()), tensor.bytes())};
}
Hdf5Value Hdf5Value::of(const std::string& text) {
  // HDF5 has no strings of length zero: one NUL stands for them.
  return {"str" + std::to_string(std::max<std::size_t>(1, text.size())),
          {},
          text.empty() ? std::string(1, '\0') : text};
}
Hdf5Value Hdf5Value::of(uint64_t value) { return {"u64", {}, bytes_of(&value, 1)}; }
Hdf5Value Hdf5Value::of(uint8_t value) { return {"u8", {}, bytes_of(&value, 1)}; }
Hdf5Value Hdf5Value::of(double value) { return {"f64", {}, bytes_of(&value, 1)}; }
Hdf5Value Hdf5Value::of(const std::vector<double>& values) {
  return {"f64", {values.size()}, bytes_of(values.data(), values.size())};
}
Hdf5Value Hdf5Value::of(const std::vector<uint64_t>& values) {
  return {"u64", {values.size()}, bytes_of(values.data(), values.size())};
}
Hdf5Value Hdf5Value::of(const std::vector<std::string>& texts) {
  std::size_t width = 1;
  for (const auto& t : texts) width = std::max(width, t.size());
  Hdf5Value value{
      "str" + std::to_string(width), {texts.size()}, std::string(width * texts.size(), '\0')};
  for (std::size_t i = 0; i < texts.size(); ++i)
    texts[i].copy(value.bytes.data() + i * width, width);
  return value;
}

Tensor Hdf5Value::tensor() const {
  Shape dims;
  for (uint64_t d : shape) dims.push_back(static_cast<int64_t>(d));
  check(dtype == "f32" || dtype == "f64" || dtype == "i32", "hdf5", "no tensor type: ", dtype);
  Tensor t = Tensor::empty(dims, dtype == "f32"   ? DType::f32
                                 : dtype == "f64" ? DType::f64
                                                  : DType::i32);
  check(t.bytes() == bytes.size(), "hdf5", bytes.size(), " bytes for a tensor ", dims);
  if (!bytes.empty()) std::memcpy(t.mutable_raw(), bytes.data(), bytes.size());
  return t;
}
std::string Hdf5Value::text() const {
  check(dtype.starts_with("str"), "hdf5", "value is ", dtype, ", asked for text");
  return bytes.substr(0, bytes.find_last_not_of('\0') + 1);
}
uint64_t Hdf5Value::u64() const { return only<uint64_t>(*this, "u64"); }
uint8_t Hdf5Value::u8() const { return only<uint8_t>(*this, "u8"); }
double Hdf5Value::f64() const { return only<double>(*this, "f64"); }
std::vector<double> Hdf5Value::f64s() const { return values_of<double>(*this, "f64"); }
std::vector<uint64_t> Hdf5Value::u64s() const { return values_of<uint64_t>(*this, "u64"); }
std::vector<std::string> Hdf5Value::texts() const {
  check(dtype.starts_with("str"), "hdf5", "value is ", dtype, ", asked for texts");
  const std::size_t width = std::stoul(dtype.substr(3));
  std::vector<std::string> out;
  for (std::size_t at = 0; at + width <= bytes.size(); at += width) {
    const std::string cell = bytes.substr(at, width);
    out.push_back(cell.substr(0, cell.find_last_not_of('\0') + 1));
  }
  return out;
}

Digest object_digest(const std::string& path, std::string_view dtype,
                     const std::vector<uint64_t>& shape, std::string_view bytes) {
  Sha256 hash;
  hash.update(path).update("", 1).update(dtype).update("", 1).update(
      static_cast<uint64_t>(shape.size()));
  for (uint64_t d : shape) hash.update(d);
  return hash.update(bytes).digest();
}

}  // namespace kindred::harness
