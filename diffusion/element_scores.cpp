#include "diffusion/element_scores.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

namespace kindred::diffusion {

namespace {
/// Stream of draw m: that of draw 0 is `rng` itself, so a single draw is the same whatever comes
/// after.
Rng of_draw(const Rng& rng, int64_t m) {
  return m == 0 ? rng : rng.split("draw").split(static_cast<uint64_t>(m));
}

/// Row i of `x` to row i * step + offset of `out`.
void interleave(const Tensor& x, int64_t step, int64_t offset, Tensor& out) {
  const int64_t dims = x.dim(1);
  for (int64_t i = 0; i < x.dim(0); ++i)
    std::copy_n(x.data<double>() + i * dims, dims,
                out.mutable_data<double>() + (i * step + offset) * dims);
}
}  // namespace

Tensor Elements::encoded(Encoding encoding, int64_t draws, const Rng& rng) const {
  Tensor out = Tensor::empty({rows() * draws, dims()}, DType::f64);
  const Tensor fixed = !levels                        ? values
                       : encoding == Encoding::centre ? centres(symbols, *levels)
                                                      : Tensor();
  for (int64_t m = 0; m < draws; ++m)
    interleave(fixed.defined() ? fixed : dequantise(symbols, *levels, of_draw(rng, m), first),
               draws, m, out);
  return out;
}

Tensor Elements::noise(int64_t draws, const Rng& rng) const {
  Tensor out = Tensor::empty({rows() * draws, dims()}, DType::f64);
  for (int64_t i = 0; i < rows(); ++i)
    for (int64_t m = 0; m < draws; ++m) {
      const Tensor z =
          of_draw(rng, m).split(static_cast<uint64_t>(first + i)).normal({dims()}, DType::f64);
      std::copy_n(z.data<double>(), dims(), out.mutable_data<double>() + (i * draws + m) * dims());
    }
  return out;
}

void Scores::append(const Scores& more) {
  const auto join = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  join(bits, more.bits);
  join(variance, more.variance);
  join(evaluations, more.evaluations);
  if (parts.empty()) {
    parts = more.parts;
    return;
  }
  for (std::size_t i = 0; i < parts.size(); ++i) join(parts[i].second, more.parts[i].second);
}

double Scores::per_dimension(const std::vector<double>& bits, int64_t dims) {
  return std::accumulate(bits.begin(), bits.end(), 0.0) /
         static_cast<double>(dims * static_cast<int64_t>(bits.size()));
}

double Scores::own_error(int64_t dims) const {
  if (variance.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double total = std::accumulate(variance.begin(), variance.end(), 0.0);
  return std::sqrt(total) / static_cast<double>(dims * static_cast<int64_t>(variance.size()));
}

Tensor denoise_rows(const Denoiser& denoiser, const Tensor& x, const std::vector<double>& sigma,
                    int64_t batch, const std::function<void(int64_t rows)>& progress) {
  const int64_t rows = x.dim(0), dims = x.dim(1);
  Tensor out = Tensor::empty(x.shape(), DType::f64);
  for (int64_t first = 0; first < rows; first += batch) {
    const int64_t count = std::min(batch, rows - first);
    const Tensor part = Tensor::view(x, first * dims, {count, dims}).clone();
    const Tensor levels = Tensor::from(std::span(sigma).subspan(first, count), {count});
    const Tensor denoised = denoiser(part, levels);
    check(denoised.shape() == part.shape() && denoised.dtype() == DType::f64, "likelihood",
          "the denoiser maps ", part.shape(), " f64 to ", denoised.shape(), ' ',
          name(denoised.dtype()));
    std::copy_n(denoised.data<double>(), count * dims, out.mutable_data<double>() + first * dims);
    if (progress) progress(first + count);
  }
  return out;
}

std::vector<double> log_mean_exp(const std::vector<double>& values, int64_t group) {
  std::vector<double> means;
  for (auto at = values.begin(); at != values.end(); at += group) {
    const double top = *std::max_element(at, at + group);
    double total = 0;
    for (auto v = at; v != at + group; ++v) total += std::exp(*v - top);
    means.push_back(top + std::log(total / static_cast<double>(group)));
  }
  return means;
}

}  // namespace kindred::diffusion
