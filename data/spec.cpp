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

}  // namespace kindred::data
