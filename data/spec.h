// DataSpec and Batch: all that models know about data. A data set is sequences of symbols from an
// alphabet (text, quantised images, quantised points) or real vectors (2-D points).
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "autodiff/tensor.h"

namespace kindred::data {

enum class Modality {
  text,    ///< one long stream of symbols; elements are windows of it
  image,   ///< height x width x channels pixels of `levels` grey levels, raster order
  points,  ///< real vectors; quantised ones (levels > 0) are images of height 1
};
const char* name(Modality modality);
enum class Split { train, validation, test };
const char* name(Split split);

struct DataSpec {
  std::string name;         ///< with its options: "fashion-mnist size=14 levels=16"
  Modality modality = Modality::text;
  int64_t levels = 0;       ///< alphabet size V or number of grey levels; 0 for real values
  int64_t height = 1, width = 1, channels = 1;  ///< of one element (image, points)
  int64_t length = 0;       ///< symbols of one element: height*width*channels, or the text window
  std::string alphabet;     ///< text: the symbols in code order, UTF-8; empty for bytes and images
  std::string sha256;       ///< of the source, so that comparisons are of the same data
  int64_t train_size = 0, validation_size = 0, test_size = 0;  ///< elements; symbols for text
  std::optional<double> entropy_bits;  ///< true entropy per symbol, where it is known
  std::string unit() const { return modality == Modality::text ? "bits/char" : "bits/dim"; }
};

struct Batch {
  Tensor symbols;  ///< i32 [B, length] (images, quantised points) or [B, length + 1] (text windows)
  Tensor values;   ///< f32 [B, length], real-valued data only
  Tensor labels;   ///< i32 [B], where the data set has classes
};

}  // namespace kindred::data
