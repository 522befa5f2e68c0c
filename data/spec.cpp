#include "data/spec.h"

namespace kindred::data {

const char* name(Modality modality) {
  switch (modality) {
    case Modality::text:
      return "text";
    case Modality::image:
      return "image";
    case Modality::points:
      return "points";
    case Modality::sequence:
      return "sequence";
  }
  return "?";
}

const char* name(Split split) {
  switch (split) {
    case Split::train:
      return "train";
    case Split::validation:
      return "validation";
    case Split::test:
      return "test";
  }
  return "?";
}

std::string DataSpec::unit() const {
  if (modality == Modality::text) return "bits/char";
  if (modality == Modality::sequence) return target_channels > 0 ? "MSE" : "bits/label";
  return "bits/dim";
}

}  // namespace kindred::data
