#include "diffusion/grey_levels.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "autodiff/choice.h"

namespace kindred::diffusion {

GreyLevels::GreyLevels(int64_t levels, double spread, double start)
    : count(levels), scale(spread), shift(start) {
  check(count > 0, "levels", "needs a positive number of levels, got ", count);
  check(scale > 0 && std::isfinite(scale), "levels", "must be spread over a positive range, got ",
        scale);
}

Encoding parse_encoding(const std::string& key, const std::string& word) {
  return choose<Encoding>(word, {{"centre", Encoding::centre}, {"uniform", Encoding::uniform}},
                          key);
}

namespace {
/// symbols [B, D] i32 as points: place(row, d) in [0, 1) is where in its cell each one lies.
template <class Place>
Tensor encode(const char* where, const Tensor& symbols, const GreyLevels& levels,
              const Place& place) {
  check(symbols.rank() == 2 && symbols.dtype() == DType::i32, where,
        "symbols must be [B, D] i32, got ", symbols.shape(), ' ', name(symbols.dtype()));
  const int64_t rows = symbols.dim(0), dims = symbols.dim(1);
  Tensor y = Tensor::empty(symbols.shape(), DType::f64);
  for (int64_t i = 0; i < rows; ++i) {
    const auto in_cell = place(i, dims);
    const int32_t* k = symbols.data<int32_t>() + i * dims;
    for (int64_t d = 0; d < dims; ++d) {
      check(k[d] >= 0 && k[d] < levels.count, where, "symbol ", k[d], " is none of ", levels.count,
            " levels; the model was made for data with other levels");
      y.mutable_data<double>()[i * dims + d] = levels.at(k[d], in_cell(d));
    }
  }
  return y;
}
}  // namespace

Tensor dequantise(const Tensor& symbols, const GreyLevels& levels, const Rng& rng, int64_t first) {
  return encode("dequantise", symbols, levels, [&](int64_t row, int64_t dims) {
    const Tensor u = rng.split(static_cast<uint64_t>(first + row)).uniform({dims}, DType::f64);
    return [u](int64_t d) { return u.data<double>()[d]; };
  });
}

Tensor centres(const Tensor& symbols, const GreyLevels& levels) {
  return encode("centres", symbols, levels,
                [](int64_t, int64_t) { return [](int64_t) { return 0.5; }; });
}

Tensor quantise(const Tensor& y, const GreyLevels& levels) {
  Tensor symbols = Tensor::empty(y.shape(), DType::i32);
  const auto top = static_cast<double>(levels.count - 1);
  for (int64_t i = 0; i < y.numel(); ++i) {
    const double cell = std::floor((y.item(i) - levels.shift) / levels.width());
    symbols.mutable_data<int32_t>()[i] = static_cast<int32_t>(std::clamp(cell, 0.0, top));
  }
  return symbols;
}

double bits_of(double nats, int64_t dims, const GreyLevels& levels) {
  return -nats / std::numbers::ln2 - static_cast<double>(dims) * std::log2(levels.width());
}

namespace {
constexpr double kReach = 9;  // standard deviations behind which a level has no weight in f64

double log_sum_of_centres(double z, double s, const GreyLevels& levels) {
  const double position = (z - levels.shift) / levels.width() - 0.5;  // in levels
  const double reach = kReach * s / levels.width(), step = levels.width() / s;
  const auto last = static_cast<double>(levels.count - 1);
  const double nearest = std::clamp(std::round(position), 0.0, last);
  const double radius =
      std::hypot(position - nearest, reach);  // of what the nearest does not dwarf
  const double low = std::max(0.0, std::ceil(position - radius));
  const double high = std::min(last, std::floor(position + radius));
  const double top = step * (position - nearest);
  double total = 0;
  for (double j = low; j <= high; ++j) {
    const double t = step * (position - j);
    total += std::exp(0.5 * (top * top - t * t));
  }
  return std::log(total) - 0.5 * top * top - std::log(s) - 0.5 * std::log(2 * std::numbers::pi);
}

/// (1/w) [Phi((z - low)/s) - Phi((z - high)/s)] over the whole range: the cells join without gaps.
double log_sum_of_cells(double z, double s, const GreyLevels& levels) {
  // The mass of the range is the same seen from its other end: the far end is subtracted, which
  // loses no digits.
  const double centre = levels.shift + 0.5 * levels.scale;
  const double beyond = (std::abs(z - centre) - 0.5 * levels.scale) / (s * std::numbers::sqrt2);
  const double across = (std::abs(z - centre) + 0.5 * levels.scale) / (s * std::numbers::sqrt2);
  return std::log(0.5 * (std::erfc(beyond) - std::erfc(across)) / levels.width());
}
}  // namespace

double log_evidence(double z, double s, const GreyLevels& levels, Encoding encoding) {
  return encoding == Encoding::centre ? log_sum_of_centres(z, s, levels)
                                      : log_sum_of_cells(z, s, levels);
}

double log_evidence(const double* z, int64_t dims, double s, const GreyLevels& levels,
                    Encoding encoding) {
  double total = 0;
  for (int64_t d = 0; d < dims; ++d) total += log_evidence(z[d], s, levels, encoding);
  return total;
}

}  // namespace kindred::diffusion
