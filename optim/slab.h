// Slab: all trained parameters in one contiguous buffer, their gradients in another of the same
// layout, so that an optimizer step, clipping and averaging are one pass each over flat memory.
// Segments start on 64-byte boundaries; the gaps hold zeros and stay zero.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::optim {

struct SlabEntry {
  std::string name;
  Tensor* tensor = nullptr;  ///< becomes a view of the slab
  bool decay = true;         ///< weight decay applies
  double lr_scale = 1;       ///< times the learning rate of the schedule
  bool trained = true;       ///< otherwise the tensor stays where it is and requires no gradient
};

class Slab {
 public:
  /// Moves the trained tensors (f32 or f64, all alike) into the slab. Throws a usage error for
  /// mixed dtypes and for a tensor that is listed twice.
  explicit Slab(std::span<const SlabEntry> entries);

  struct Segment {
    std::string name;
    int64_t offset = 0;
    Shape shape;
    bool decay = true;
    double lr_scale = 1;
  };
  /// A piece of work of an optimizer: elements [begin, end) of one segment.
  struct Chunk {
    int64_t begin, end;
    int segment;
  };

  const std::vector<Segment>& segments() const { return segments_; }
  const std::vector<Chunk>& chunks() const { return chunks_; }
  /// The trained parameters in the order of segments(): the xs of grad().
  const std::vector<Tensor>& parameters() const { return parameters_; }
  DType dtype() const { return values_.dtype(); }
  /// Elements of the buffers, gaps included.
  int64_t size() const { return values_.numel(); }
  /// Trained numbers.
  int64_t parameter_count() const;

  Tensor& values() { return values_; }
  const Tensor& values() const { return values_; }
  Tensor& gradient() { return gradient_; }
  const Tensor& gradient() const { return gradient_; }
  /// Segment i of a buffer with this layout (values, gradient, an optimizer's slot, an average).
  Tensor view(const Tensor& buffer, std::size_t i) const;
  /// Another zero-filled buffer with this layout.
  Tensor like() const { return Tensor::zeros({size()}, dtype()); }

  /// gradient = factor * gradients, or += with accumulate; in the order of parameters().
  void store_gradients(std::span<const Tensor> gradients, double factor = 1,
                       bool accumulate = false);
  /// L2 norm of the whole gradient, summed in double in a fixed order; not finite if the gradient
  /// is not.
  double gradient_norm() const;

 private:
  std::vector<Segment> segments_;
  std::vector<Chunk> chunks_;
  std::vector<Tensor> parameters_;
  Tensor values_, gradient_;
};

}  // namespace kindred::optim
