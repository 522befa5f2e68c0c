// Slab: all trained parameters in one contiguous buffer, an optimizer's slots and averages in
// others of the same layout, so that a step and averaging are one pass each over flat memory.
// Gradients stay where grad() made them: copying them together would cost as much as clipping.
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
  /// Segment i of a buffer with this layout (values, an optimizer's slot, an average).
  Tensor view(const Tensor& buffer, std::size_t i) const;
  /// Another zero-filled buffer with this layout.
  Tensor like() const { return Tensor::zeros({size()}, dtype()); }

  /// Usage error unless there is one gradient for each parameter, of its shape and dtype.
  void check_gradients(std::span<const Tensor> gradients) const;
  /// L2 norm of all gradients together, summed in double in a fixed order; not finite if one of
  /// them is not.
  double norm(std::span<const Tensor> gradients) const;

 private:
  std::vector<Segment> segments_;
  std::vector<Chunk> chunks_;
  std::vector<Tensor> parameters_;
  Tensor values_;
};

}  // namespace kindred::optim
