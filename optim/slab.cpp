#include "optim/slab.h"

#include <algorithm>
#include <cmath>

#include "autodiff/parallel.h"

namespace kindred::optim {

namespace {
constexpr int64_t kAlign = 16;  // elements: 64 bytes of f32
}

Slab::Slab(std::span<const SlabEntry> entries) {
  std::vector<Tensor*> sources;
  int64_t size = 0;
  for (const SlabEntry& e : entries) {
    check(e.tensor && e.tensor->defined(), "slab", "entry ", e.name, " has no tensor");
    if (!e.trained) {
      if (e.tensor->is_float()) *e.tensor = e.tensor->detach();
      continue;
    }
    check(e.tensor->is_float(), "slab", "parameter ", e.name, " is not floating-point");
    check(sources.empty() || e.tensor->dtype() == sources[0]->dtype(), "slab", "parameter ", e.name,
          " is ", kindred::name(e.tensor->dtype()), ", those before it are not");
    check(std::find(sources.begin(), sources.end(), e.tensor) == sources.end(), "slab",
          "parameter ", e.name, " is listed twice");
    const auto segment = static_cast<int>(segments_.size());
    segments_.push_back({e.name, size, e.tensor->shape(), e.decay, e.lr_scale});
    sources.push_back(e.tensor);
    const int64_t end = size + e.tensor->numel();
    for (int64_t begin = size; begin < end; begin += kGrain)
      chunks_.push_back({begin, std::min(end, begin + kGrain), segment});
    size = (end + kAlign - 1) / kAlign * kAlign;
  }
  const DType dtype = sources.empty() ? DType::f32 : sources[0]->dtype();
  values_ = Tensor::zeros({size}, dtype);
  for (std::size_t i = 0; i < sources.size(); ++i) {
    Tensor placed = view(values_, i);
    placed.copy_from(*sources[i]);
    placed.set_requires_grad();
    *sources[i] = placed;
    parameters_.push_back(placed);
  }
}

int64_t Slab::parameter_count() const {
  int64_t n = 0;
  for (const Segment& s : segments_) n += s.shape.numel();
  return n;
}

Tensor Slab::view(const Tensor& buffer, std::size_t i) const {
  return Tensor::view(buffer, segments_[i].offset, segments_[i].shape);
}

void Slab::check_gradients(std::span<const Tensor> gradients) const {
  check(gradients.size() == segments_.size(), "slab", gradients.size(), " gradients for ",
        segments_.size(), " parameters");
  for (std::size_t i = 0; i < gradients.size(); ++i)
    check(gradients[i].shape() == segments_[i].shape && gradients[i].dtype() == dtype(), "slab",
          "gradient of ", segments_[i].name, " is ", gradients[i].shape(), ' ',
          kindred::name(gradients[i].dtype()), ", the parameter ", segments_[i].shape, ' ',
          kindred::name(dtype()));
}

namespace {
template <class T>
double sum_of_squares(const T* __restrict g, int64_t n) {
  constexpr int64_t kLanes = 8;  // independent sums, so that the loop can be vectorised
  double lane[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int64_t k = 0; k < kLanes; ++k)
      lane[k] += static_cast<double>(g[i + k]) * static_cast<double>(g[i + k]);
  double total = 0;
  for (; i < n; ++i) total += static_cast<double>(g[i]) * static_cast<double>(g[i]);
  for (double l : lane) total += l;
  return total;
}
}  // namespace

double Slab::norm(std::span<const Tensor> gradients) const {
  return std::sqrt(dispatch_float(dtype(), [&]<class T>(T) {
    return parallel_sum(
        static_cast<int64_t>(chunks_.size()),
        [&](int64_t first, int64_t last) {
          double total = 0;
          for (int64_t c = first; c < last; ++c) {
            const Chunk& chunk = chunks_[c];
            total += sum_of_squares(gradients[chunk.segment].template data<T>() + chunk.begin -
                                        segments_[chunk.segment].offset,
                                    chunk.end - chunk.begin);
          }
          return total;
        },
        /*grain=*/1);
  }));
}

}  // namespace kindred::optim
