#include "harness/trajectory.h"

#include <algorithm>
#include <cmath>

#include "harness/png.h"

namespace kindred::harness {

Trajectory::Trajectory(int64_t count, int64_t most) : count_(count), most_(most) {
  check(count > 0 && most >= 4, "trajectory", count, " samples, at most ", most, " steps");
}

void Trajectory::admit(int64_t step, double sigma, int64_t dims) {
  // The newest step so far was kept in case it was the last.
  if (!kept_.empty() && kept_.rbegin()->first % stride_ != 0) kept_.erase(kept_.rbegin()->first);
  if (static_cast<int64_t>(kept_.size()) >= most_) {
    stride_ *= 2;
    std::erase_if(kept_, [&](const auto& entry) { return entry.first % stride_ != 0; });
  }
  kept_[step] = {step, sigma, Tensor::zeros({count_, dims})};
}

void Trajectory::record(int64_t step, double sigma, int64_t first, const Tensor& states) {
  const int64_t rows = states.dim(0), dims = states.dim(1);
  check(first >= 0 && first + rows <= count_, "trajectory", "samples ", first, " to ",
        first + rows - 1, " of ", count_);
  if (first == 0) admit(step, sigma, dims);
  const auto found = kept_.find(step);
  if (found == kept_.end()) return;
  float* to = found->second.states.mutable_data<float>() + first * dims;
  for (int64_t i = 0; i < rows * dims; ++i) to[i] = static_cast<float>(states.item(i));
}

std::vector<Trajectory::Moment> Trajectory::moments(int64_t n) const {
  check(n > 1, "trajectory", "needs two moments or more, the first and the last; got ", n);
  std::vector<Moment> chosen;
  if (kept_.empty()) return chosen;
  const int64_t last = kept_.rbegin()->first;
  n = std::min(n, static_cast<int64_t>(kept_.size()));
  for (int64_t i = 0; i < n; ++i) {
    // The kept step that is nearest to an even spacing of the steps.
    const double wanted = n > 1 ? static_cast<double>(last * i) / static_cast<double>(n - 1) : 0;
    auto above = kept_.lower_bound(static_cast<int64_t>(std::ceil(wanted)));
    if (above != kept_.begin()) {
      const auto below = std::prev(above);
      if (above == kept_.end() ||
          wanted - static_cast<double>(below->first) < static_cast<double>(above->first) - wanted)
        above = below;
    }
    if (chosen.empty() || chosen.back().step != above->first) chosen.push_back(above->second);
  }
  return chosen;
}

Tensor shown_states(const Trajectory::Moment& moment, const data::DataSpec& spec) {
  const bool symbols = spec.levels > 0;
  const double range = symbols ? static_cast<double>(spec.levels) : 2 * kPointsHalf;
  const double middle = symbols ? range / 2 : 0, quarter = range / 4;
  const double factor = 1 / std::hypot(1, moment.sigma / quarter);
  const bool image = spec.modality == data::Modality::image;
  Tensor out = Tensor::empty(moment.states.shape());
  for (int64_t i = 0; i < out.numel(); ++i) {
    double value = middle + factor * (moment.states.item(i) - middle);
    if (image) value = std::clamp(std::floor(value), 0.0, range - 1);
    out.mutable_data<float>()[i] = static_cast<float>(value);
  }
  return out;
}

std::string strip_picture(const std::vector<Trajectory::Moment>& moments,
                          const data::DataSpec& spec, const PictureStyle& style) {
  check(!moments.empty(), "trajectory", "the sampler told nothing of its way");
  const auto columns = static_cast<int64_t>(moments.size());
  if (spec.modality == data::Modality::image) {
    const int64_t rows = moments.front().states.dim(0), dims = moments.front().states.dim(1);
    Tensor all = Tensor::empty({rows * columns, dims});
    for (int64_t c = 0; c < columns; ++c) {
      const Tensor shown = shown_states(moments[static_cast<std::size_t>(c)], spec);
      for (int64_t r = 0; r < rows; ++r)
        std::copy_n(shown.data<float>() + r * dims, dims,
                    all.mutable_data<float>() + (r * columns + c) * dims);
    }
    PictureStyle grid = style;
    grid.columns = columns;
    return sample_picture(all, spec, grid);
  }
  constexpr int64_t kGap = 4;
  Pixels strip;
  for (int64_t c = 0; c < columns; ++c) {
    const Pixels one =
        sample_pixels(shown_states(moments[static_cast<std::size_t>(c)], spec), spec, style);
    if (c == 0) {
      strip = {one.height + 2 * kGap, columns * (one.width + kGap) + kGap, one.channels, {}};
      strip.values.assign(static_cast<std::size_t>(strip.height * strip.width * strip.channels),
                          200);
    }
    for (int64_t y = 0; y < one.height; ++y)
      std::copy_n(one.values.begin() + y * one.width * one.channels, one.width * one.channels,
                  strip.values.begin() +
                      ((y + kGap) * strip.width + kGap + c * (one.width + kGap)) * one.channels);
  }
  return encode_png(strip, style.run);
}

}  // namespace kindred::harness
