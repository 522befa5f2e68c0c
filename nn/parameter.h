// Parameter: a tensor of a module with its role. Policies (weight decay, learning-rate groups,
// freezing) are decided from the role in one place, not by the layers.
#pragma once
#include <string>
#include <vector>

#include "autodiff/describe.h"
#include "autodiff/tensor.h"

namespace kindred::nn {

enum class Role {
  matrix,     ///< weights of linear maps and convolutions
  embedding,  ///< tables indexed by symbol or position
  bias,
  norm,      ///< gains and shifts of normalisations
  dynamics,  ///< state-space parameters with their own small learning rate and no decay
  buffer,    ///< saved with the model, never trained (random Fourier frequencies)
};
const char* name(Role role);

struct Parameter {
  Tensor value;
  Role role = Role::matrix;
};

struct NamedParameter {
  std::string path;  ///< "backbone.blocks.0.attention.qkv.weight"
  Parameter* parameter;
};

/// All parameters of a described module, in the order of its fields.
template <Described Module>
std::vector<NamedParameter> parameters_of(Module& module, const std::string& prefix = "") {
  std::vector<NamedParameter> found;
  for_each_leaf<Parameter>(module, prefix, [&](const std::string& path, Parameter& p) {
    found.push_back({path, &p});
  });
  return found;
}

}  // namespace kindred::nn
