#include "apps/completion.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <sstream>

#include "autodiff/rng.h"
#include "harness/atomic_file.h"
#include "harness/png.h"

namespace kindred::apps {

namespace {
constexpr const char* kWhere = "--inpaint";

/// The symbols of a PNG file as the data quantise them.
Tensor read_picture(const std::string& path, const data::DataSpec& spec) {
  const harness::Pixels pixels = harness::decode_png(harness::read_file(path), spec.channels, path);
  check(pixels.height == spec.height && pixels.width == spec.width, kWhere, path, " is ",
        pixels.width, " x ", pixels.height, ", the images of ", spec.name, " are ", spec.width,
        " x ", spec.height);
  Tensor symbols = Tensor::empty({1, spec.length}, DType::i32);
  for (int64_t i = 0; i < spec.length; ++i)
    symbols.mutable_data<int32_t>()[i] =
        static_cast<int32_t>(pixels.values[static_cast<std::size_t>(i)] * spec.levels / 256);
  return symbols;
}

/// "0,4,7" or "0-7".
std::vector<int64_t> numbers(const std::string& text) {
  std::vector<int64_t> found;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    long long from = 0, to = 0;
    char dash = 0;
    std::istringstream one(part);
    one >> from;
    const bool single = !one.fail() && one.eof();
    if (single) to = from;
    check(single || (one >> dash >> to && dash == '-' && one.eof()), kWhere, '\'', text,
          "' is neither a PNG file nor numbers such as 3, 0,4,7 or 0-7");
    check(from >= 0 && to >= from && to - from < 10000, kWhere, "no elements ", from, " to ", to);
    for (long long k = from; k <= to; ++k) found.push_back(k);
  }
  check(!found.empty(), kWhere, "names no element");
  return found;
}

/// True where a pixel in column x and row y is hidden.
std::vector<uint8_t> hidden_pixels(const data::DataSpec& spec, const std::string& mask,
                                   uint64_t seed) {
  const int64_t width = spec.width, height = spec.height;
  std::vector<uint8_t> hidden(static_cast<std::size_t>(width * height), 0);
  const auto hide = [&](auto&& where) {
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        hidden[static_cast<std::size_t>(y * width + x)] = where(x, y);
  };
  const auto starts = [&](const char* with) { return mask.rfind(with, 0) == 0; };
  if (mask == "left") {
    hide([&](int64_t x, int64_t) { return 2 * x < width; });
  } else if (mask == "right") {
    hide([&](int64_t x, int64_t) { return 2 * x >= width; });
  } else if (mask == "top") {
    hide([&](int64_t, int64_t y) { return 2 * y < height; });
  } else if (mask == "bottom") {
    hide([&](int64_t, int64_t y) { return 2 * y >= height; });
  } else if (starts("box:")) {
    int64_t x0 = 0, y0 = 0, w = 0, h = 0;
    char a = 0, b = 0, c = 0;
    std::istringstream in(mask.substr(4));
    const bool read = static_cast<bool>(in >> x0 >> a >> y0 >> b >> w >> c >> h);
    check(read && in.eof() && a == ',' && b == ',' && c == ',', "--mask", mask,
          " is not box:X,Y,WIDTH,HEIGHT");
    check(x0 >= 0 && y0 >= 0 && w > 0 && h > 0 && x0 + w <= width && y0 + h <= height, "--mask",
          mask, " leaves the ", width, " x ", height, " values of an element");
    hide([&](int64_t x, int64_t y) { return x >= x0 && x < x0 + w && y >= y0 && y < y0 + h; });
  } else if (starts("random:")) {
    double p = -1;
    std::istringstream in(mask.substr(7));
    check(static_cast<bool>(in >> p) && in.eof() && p > 0 && p < 1, "--mask", mask,
          " is not random:P with P above 0 and below 1");
    const Rng rng = Rng(seed).split("mask");
    hide([&](int64_t x, int64_t y) { return rng.uniform(y * width + x) < p; });
  } else {
    fail(Fault::usage, "--mask", '\'', mask,
         "' is none of left, right, top, bottom, box:X,Y,WIDTH,HEIGHT, random:P");
  }
  return hidden;
}
}  // namespace

harness::Completion completion_of(const data::Dataset& data, data::Split split,
                                  const std::string& elements, const std::string& mask,
                                  uint64_t seed) {
  const data::DataSpec& spec = data.spec();
  check(spec.modality == data::Modality::image || spec.modality == data::Modality::points, kWhere,
        "completes images and points; ", spec.name, " are neither");
  harness::Completion completion;
  if (elements.ends_with(".png")) {
    check(spec.modality == data::Modality::image, kWhere, spec.name,
          " are no images: name elements by number");
    completion.values = read_picture(elements, spec);
  } else {
    const std::vector<int64_t> wanted = numbers(elements);
    const auto n = static_cast<int64_t>(wanted.size()), D = spec.length;
    completion.values = Tensor::empty({n, D}, spec.levels > 0 ? DType::i32 : DType::f32);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t at = wanted[static_cast<std::size_t>(i)];
      check(at < data.size(split), kWhere, "element ", at, " of the ", data.size(split), " of the ",
            data::name(split), " split");
      const data::Batch one = data.elements(split, at, 1);
      if (spec.levels > 0) {
        std::copy_n(one.symbols.data<int32_t>(), D,
                    completion.values.mutable_data<int32_t>() + i * D);
      } else {
        std::copy_n(one.values.data<float>(), D, completion.values.mutable_data<float>() + i * D);
      }
    }
  }
  const std::vector<uint8_t> hidden = hidden_pixels(spec, mask, seed);
  const auto count = std::count(hidden.begin(), hidden.end(), uint8_t{1});
  check(count > 0, "--mask", mask, " hides nothing of an element of ", spec.width, " x ",
        spec.height);
  check(count < static_cast<int64_t>(hidden.size()), "--mask", mask,
        " hides everything: leave --inpaint out");
  for (const uint8_t h : hidden)
    completion.known.insert(completion.known.end(), static_cast<std::size_t>(spec.channels), !h);
  return completion;
}

CompletionPicture completion_picture(const harness::Completion& completion, const Tensor& samples,
                                     const data::DataSpec& spec) {
  const int64_t n = completion.values.dim(0), D = spec.length, each = samples.dim(0) / n,
                columns = 2 + each;
  CompletionPicture out{Tensor::empty({n * columns, D}, DType::i32), columns};
  for (int64_t i = 0; i < n; ++i) {
    int32_t* row = out.symbols.mutable_data<int32_t>() + i * columns * D;
    const int32_t* original = completion.values.data<int32_t>() + i * D;
    std::copy_n(original, D, row);
    for (int64_t d = 0; d < D; ++d)
      row[D + d] = completion.known[static_cast<std::size_t>(d)]
                       ? original[d]
                       : static_cast<int32_t>(spec.levels / 2);
    for (int64_t k = 0; k < each; ++k)
      std::copy_n(samples.data<int32_t>() + (k * n + i) * D, D, row + (2 + k) * D);
  }
  return out;
}

}  // namespace kindred::apps
