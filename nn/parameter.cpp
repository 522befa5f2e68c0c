#include "nn/parameter.h"

namespace kindred::nn {

const char* name(Role role) {
  switch (role) {
    case Role::matrix:
      return "matrix";
    case Role::embedding:
      return "embedding";
    case Role::bias:
      return "bias";
    case Role::norm:
      return "norm";
    case Role::dynamics:
      return "dynamics";
    case Role::buffer:
      return "buffer";
  }
  return "?";
}

}  // namespace kindred::nn
