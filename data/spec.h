// DataSpec and Batch: all that models know about data. A data set is sequences of symbols from an
// alphabet (text, quantised images, quantised points), real vectors (2-D points), or sequences with
// targets to predict (a class, or real numbers).
// Shapes: B batch, L steps of an element, C input channels, T targets of an element, D channels of
// a real target.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::data {

enum class Modality {
  text,      ///< one long stream of symbols; elements are windows of it
  image,     ///< height x width x channels pixels of `levels` grey levels, raster order
  points,    ///< real vectors; quantised ones (levels > 0) are images of height 1
  sequence,  ///< supervised: symbols (levels > 0) or in_channels real values a step, and targets
};
const char* name(Modality modality);
enum class Split { train, validation, test };
const char* name(Split split);

struct DataSpec {
  std::string name;  ///< with its options: "fashion-mnist size=14 levels=16"
  Modality modality = Modality::text;
  int64_t levels = 0;  ///< alphabet size V or number of grey levels; 0 for real values
  int64_t height = 1, width = 1, channels = 1;  ///< of one element (image, points)
  int64_t length = 0;    ///< symbols of one element: height*width*channels, or the text window
  std::string alphabet;  ///< text: the symbols in code order, UTF-8; empty for bytes and images
  std::string sha256;    ///< of the source, so that comparisons are of the same data
  int64_t train_size = 0, validation_size = 0, test_size = 0;  ///< elements; symbols for text
  std::optional<double> entropy_bits;  ///< true entropy per symbol, where it is known

  // Supervised data; images with labels have `classes` and one target too.
  int64_t in_channels = 0;      ///< C: real inputs of one step of a sequence; 0: symbols
  bool padded = false;          ///< elements may be shorter than `length`: batches have lengths
  bool causal = false;          ///< later inputs hold earlier targets: models must not see them
  bool ordered = false;         ///< levels are amounts (grey levels), not names (letters)
  int64_t classes = 0;          ///< of labels or class targets; 0: there are none
  int64_t targets = 0;          ///< T: 1 = one for the whole element; more = its last T steps
  int64_t target_channels = 0;  ///< D: of real targets; 0: targets are classes
  std::vector<double> target_mean, target_std;  ///< [D] of real targets; empty: 0 and 1
  double rate = 1;  ///< step of the samples in steps of the source: 2 = every second

  /// Of a likelihood of the elements themselves; for supervised sequences, of their targets.
  std::string unit() const;
};

struct Batch {
  Tensor symbols;  ///< i32 [B, length] (images, quantised points) or [B, length + 1] (text windows)
  Tensor values;   ///< f32 [B, length] (real points) or [B, L, in_channels] (sequences)
  Tensor labels;   ///< i32 [B], where images, or sequences of their pixels, have classes
  Tensor targets;  ///< tasks: classes i32 [B, T] or real values f32 [B, T, target_channels]
  Tensor lengths;  ///< sequences: valid steps i32 [B], zeros follow; undefined: all are full
};

}  // namespace kindred::data
