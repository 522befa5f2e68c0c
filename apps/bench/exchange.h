// The folder through which both sides of a benchmark start alike: raw tensors and index.json,
//   {"settings": {name: value}, "tensors": {path: {"file", "dtype", "shape"}}}.
#pragma once
#include <span>
#include <string>

#include "autodiff/tensor.h"
#include "harness/json.h"
#include "nn/parameter.h"

namespace kindred::apps::bench {

class Exchange {
 public:
  explicit Exchange(std::string folder) : folder_(std::move(folder)) {}
  void setting(const std::string& name, const nlohmann::json& value) { settings_[name] = value; }
  /// Writes the values, row-major in the machine's byte order. Throws Fault::io.
  void tensor(const std::string& path, const Tensor& values);
  void parameters(std::span<const nn::NamedParameter> all) {
    for (const nn::NamedParameter& p : all) tensor(p.path, p.parameter->value);
  }
  /// Writes index.json; the folder is complete afterwards.
  void finish() const;

 private:
  std::string folder_;
  nlohmann::json settings_ = nlohmann::json::object(), tensors_ = nlohmann::json::object();
};

}  // namespace kindred::apps::bench
