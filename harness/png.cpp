#include "harness/png.h"

#include <openssl/evp.h>
#include <png.h>

#include <algorithm>
#include <cmath>

#include "harness/atomic_file.h"

namespace kindred::harness {

namespace {
constexpr int64_t kPad = 2;
constexpr uint8_t kWhite = 255;

[[noreturn]] void png_failed(png_structp, png_const_charp message) {
  fail(Fault::io, "png", message);
}
void png_warned(png_structp, png_const_charp) {}
void append(png_structp png, png_bytep bytes, png_size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))
      ->append(reinterpret_cast<const char*>(bytes), count);
}
void flush_nothing(png_structp) {}

struct Encoder {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, png_failed, png_warned);
  png_infop info = png ? png_create_info_struct(png) : nullptr;
  ~Encoder() { png_destroy_write_struct(&png, &info); }
};

uint8_t grey(double symbol, int64_t levels) {
  const double level = std::round(symbol);
  if (!(level >= 0 && level < static_cast<double>(levels)))
    fail(Fault::data, "png", "symbol ", symbol, " outside the ", levels, " levels");
  return static_cast<uint8_t>(
      std::lround(255 * level / static_cast<double>(std::max<int64_t>(levels - 1, 1))));
}
}  // namespace

Pixels image_grid(const Tensor& symbols, const ImageGrid& g) {
  const int64_t size = g.height * g.width * g.channels;
  check(g.height > 0 && g.width > 0 && g.levels > 1 && g.scale > 0 &&
            (g.channels == 1 || g.channels == 3),
        "png", "cannot draw images of ", g.height, " x ", g.width, " x ", g.channels, " with ",
        g.levels, " levels, scale ", g.scale);
  check(symbols.rank() == 2 && symbols.dim(1) == size && symbols.dim(0) > 0, "png", "symbols ",
        symbols.shape(), " for images of ", g.height, " x ", g.width, " x ", g.channels);
  const int64_t n = symbols.dim(0);
  const auto square = static_cast<int64_t>(std::ceil(std::sqrt(static_cast<double>(n))));
  const int64_t columns = std::min(n, g.columns > 0 ? g.columns : square),
                rows = (n + columns - 1) / columns;
  const int64_t cell_height = g.height * g.scale + kPad, cell_width = g.width * g.scale + kPad;
  Pixels out{rows * cell_height + kPad, columns * cell_width + kPad, g.channels, {}};
  out.values.assign(static_cast<std::size_t>(out.height * out.width * out.channels), kWhite);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t top = kPad + i / columns * cell_height, left = kPad + i % columns * cell_width;
    for (int64_t y = 0; y < g.height * g.scale; ++y) {
      for (int64_t x = 0; x < g.width * g.scale; ++x) {
        const int64_t from = i * size + ((y / g.scale) * g.width + x / g.scale) * g.channels;
        const int64_t to = ((top + y) * out.width + left + x) * g.channels;
        for (int64_t c = 0; c < g.channels; ++c)
          out.values[static_cast<std::size_t>(to + c)] = grey(symbols.item(from + c), g.levels);
      }
    }
  }
  return out;
}

Pixels point_density(const Tensor& points, double low, double high, int64_t size) {
  check(points.rank() == 2 && points.dim(1) == 2 && size > 0 && high > low, "png", "points ",
        points.shape(), " on ", size, " cells over [", low, ", ", high, "]; expected [n, 2]");
  std::vector<int64_t> counts(static_cast<std::size_t>(size * size), 0);
  const double cells = static_cast<double>(size) / (high - low);
  for (int64_t i = 0; i < points.dim(0); ++i) {
    const double x = std::floor((points.item(2 * i) - low) * cells);
    const double y = std::floor((points.item(2 * i + 1) - low) * cells);
    if (!(x >= 0 && x < static_cast<double>(size) && y >= 0 && y < static_cast<double>(size)))
      continue;
    ++counts[static_cast<std::size_t>((size - 1 - static_cast<int64_t>(y)) * size +
                                      static_cast<int64_t>(x))];
  }
  const int64_t most = std::max<int64_t>(1, *std::max_element(counts.begin(), counts.end()));
  Pixels out{size, size, 1, {}};
  for (int64_t count : counts)
    out.values.push_back(static_cast<uint8_t>(std::lround(
        255 * (1 - std::sqrt(static_cast<double>(count) / static_cast<double>(most))))));
  return out;
}

std::string encode_png(const Pixels& pixels, const std::string& run) {
  check(pixels.height > 0 && pixels.width > 0 && (pixels.channels == 1 || pixels.channels == 3) &&
            static_cast<int64_t>(pixels.values.size()) ==
                pixels.height * pixels.width * pixels.channels,
        "png", pixels.values.size(), " values for ", pixels.height, " x ", pixels.width, " x ",
        pixels.channels);
  std::string out;
  Encoder encoder;
  if (!encoder.info) fail(Fault::io, "png", "libpng cannot start");
  png_set_write_fn(encoder.png, &out, append, flush_nothing);
  png_set_IHDR(encoder.png, encoder.info, static_cast<png_uint_32>(pixels.width),
               static_cast<png_uint_32>(pixels.height), 8,
               pixels.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  std::string key = "kindred-run", value = run;
  png_text text{};
  text.compression = PNG_TEXT_COMPRESSION_NONE;
  text.key = key.data();
  text.text = value.data();
  if (!run.empty()) png_set_text(encoder.png, encoder.info, &text, 1);
  png_write_info(encoder.png, encoder.info);
  const int64_t stride = pixels.width * pixels.channels;
  for (int64_t y = 0; y < pixels.height; ++y)
    png_write_row(encoder.png, pixels.values.data() + y * stride);
  png_write_end(encoder.png, encoder.info);
  return out;
}

std::string image_grid_png(const Tensor& symbols, const ImageGrid& grid) {
  return encode_png(image_grid(symbols, grid), grid.run);
}

void write_image_grid(const std::string& path, const Tensor& symbols, const ImageGrid& grid) {
  atomic_write(path, image_grid_png(symbols, grid));
}

Pixels decode_png(const std::string& bytes, int64_t channels, const std::string& origin) {
  check(channels == 1 || channels == 3, "png", "pixels of ", channels, " channels");
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()))
    fail(Fault::data, "png", origin, ": ", image.message);
  image.format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  Pixels out{image.height, image.width, channels, {}};
  out.values.resize(PNG_IMAGE_SIZE(image));
  const png_color white{kWhite, kWhite, kWhite};  // behind transparent pixels
  if (!png_image_finish_read(&image, &white, out.values.data(), 0, nullptr))
    fail(Fault::data, "png", origin, ": ", image.message);
  return out;
}

std::string data_uri(const std::string& png) {
  std::string base64(4 * ((png.size() + 2) / 3) + 1, '\0');  // OpenSSL adds a NUL
  const int n = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(base64.data()),
                                reinterpret_cast<const unsigned char*>(png.data()),
                                static_cast<int>(png.size()));
  base64.resize(static_cast<std::size_t>(n));
  return "data:image/png;base64," + base64;
}

}  // namespace kindred::harness
