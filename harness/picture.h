// Pictures of samples by kind of data: a grid of images, or a density map of points.
#pragma once
#include <string>

#include "autodiff/tensor.h"
#include "data/spec.h"
#include "harness/png.h"

namespace kindred::harness {

struct PictureStyle {
  int64_t columns = 0;   ///< images in a row; 0: square
  int64_t scale = 0;     ///< pixels a pixel; 0: about 56 pixels an image
  std::string run = {};  ///< id kept in the file
};

inline constexpr double kPointsHalf = 4;  ///< pictures of real points show [-4, 4]^2

/// Usage error for data without a picture: text, and points of other than 2 coordinates.
void check_picture(const data::DataSpec& spec);
/// Pixels for samples [n, length] of images (i32 symbols), quantised points (i32) or points (f32).
/// Usage error as above.
Pixels sample_pixels(const Tensor& samples, const data::DataSpec& spec,
                     const PictureStyle& style = {});
/// The same as the bytes of a PNG file.
std::string sample_picture(const Tensor& samples, const data::DataSpec& spec,
                           const PictureStyle& style = {});
/// The same, written by rename.
void write_sample_picture(const std::string& path, const Tensor& samples,
                          const data::DataSpec& spec, const PictureStyle& style = {});

}  // namespace kindred::harness
