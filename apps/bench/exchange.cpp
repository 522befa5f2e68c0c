#include "apps/bench/exchange.h"

#include <fstream>

namespace kindred::apps::bench {

namespace {
void write(const std::string& path, const void* bytes, std::size_t count) {
  std::ofstream file(path, std::ios::binary);
  file.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(count));
  file.close();
  if (!file) fail(Fault::io, "bench", path, ": cannot be written; is the disk full?");
}
}  // namespace

void Exchange::tensor(const std::string& path, const Tensor& values) {
  const std::string file = std::to_string(tensors_.size()) + ".bin";
  write(folder_ + "/" + file, values.raw(), values.bytes());
  nlohmann::json shape = nlohmann::json::array();
  for (int i = 0; i < values.rank(); ++i) shape.push_back(values.dim(i));
  const char* dtype = values.dtype() == DType::f32   ? "float32"
                      : values.dtype() == DType::f64 ? "float64"
                                                     : "int32";
  tensors_[path] = {{"file", file}, {"dtype", dtype}, {"shape", shape}};
}

void Exchange::finish() const {
  const std::string text = nlohmann::json{{"settings", settings_}, {"tensors", tensors_}}.dump();
  write(folder_ + "/index.json", text.data(), text.size());
}

}  // namespace kindred::apps::bench
