// What `kindred sample --inpaint` completes: elements of the held-out split or a PNG file, and
// which of their values are hidden.
#pragma once
#include <string>

#include "data/dataset.h"
#include "harness/objective.h"

namespace kindred::apps {

/// elements: "3", "0,4,7" or "0-7" (of the split), or a PNG file of the data's size. mask, the part
/// that is hidden: left, right, top, bottom, box:X,Y,WIDTH,HEIGHT (pixels, or coordinates of
/// points) or random:P (each pixel with probability P, from the seed). Usage error for anything
/// else and for a mask that hides nothing or everything.
harness::Completion completion_of(const data::Dataset& data, data::Split split,
                                  const std::string& elements, const std::string& mask,
                                  uint64_t seed);

/// Rows of pictures: each element whole, with what is hidden in grey, then its completions, which
/// are every n-th of the samples. Returns symbols to draw and the number of columns.
struct CompletionPicture {
  Tensor symbols;
  int64_t columns;
};
CompletionPicture completion_picture(const harness::Completion& completion, const Tensor& samples,
                                     const data::DataSpec& spec);

}  // namespace kindred::apps
