// Op: one descriptor says everything about an operation: name, shape check, kernel, derivative,
// sample inputs for the tests. Each lives in one .cpp of autodiff/ops and registers itself.
//
// Derivatives are closed under differentiation:
//  - `vjp` is written in public ops, so that the derivative can be differentiated again; or
//  - `fused_vjp` is a kernel, with `composite` (the same function in primitive ops) beside it.
//    First derivatives use the kernel; when a graph of the derivative is wanted, one node records
//    the call and replays the composite only if it is differentiated again. The composite is also
//    the test oracle and the baseline of the benchmark.
// Randomness enters an op as an input, never drawn inside. Complex numbers never leave a kernel.
#pragma once
#include <array>
#include <cstring>
#include <functional>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "autodiff/rng.h"
#include "autodiff/tensor.h"

namespace kindred {

inline constexpr int kMaxInputs = 8;
inline constexpr int kMaxOutputs = 8;

/// The op's own small struct of settings (axes, flags, scales), held by value.
class Attrs {
 public:
  Attrs() = default;
  template <class T>
  static Attrs of(const T& value) {
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= kBytes);
    Attrs a;
    std::memcpy(a.bytes_.data(), &value, sizeof(T));
    return a;
  }
  template <class T>
  T as() const {
    T value;
    std::memcpy(&value, bytes_.data(), sizeof(T));
    return value;
  }

 private:
  static constexpr std::size_t kBytes = 96;
  alignas(8) std::array<std::byte, kBytes> bytes_{};
};

/// Inputs and settings of one call.
struct Call {
  std::span<const Tensor> in;
  const Attrs& attrs;
  const Shape& shape(int i) const { return in[i].shape(); }
};

/// What a call will produce. Output 0 is the result; further ones are saved for the derivative.
struct Outputs {
  struct Spec {
    Shape shape;
    DType dtype = DType::f32;
  };
  std::array<Spec, kMaxOutputs> spec;
  int count = 0;
  void add(const Shape& shape, DType dtype) { spec[count++] = {shape, dtype}; }
};

/// What a derivative sees: inputs and output with their history, the cotangent g of output 0.
struct Vjp {
  std::span<const Tensor> in;  ///< an input that the op does not list in `reads` has no data
  const Attrs& attrs;
  const Tensor& out;              ///< output 0, only if the op sets `reads_output`
  std::span<const Tensor> saved;  ///< outputs 1.. of the forward kernel
  const Tensor& g;
  std::span<const bool> needs;  ///< which input gradients are wanted
  std::span<Tensor> dx;         ///< to be filled where needs[i]
};

/// Inputs for the registry's property tests. Kinks (ReLU at 0) must be kept away from by the
/// sample.
struct Sample {
  std::vector<Tensor> inputs;
  Attrs attrs;
  std::string label;
  std::vector<bool> differentiable = {};  ///< default: every floating-point input
};
/// Makes samples of a dtype; `width` is the extent to use for the op's vectorised dimension.
using SampleMaker = std::vector<Sample> (*)(DType dtype, int64_t width, const Rng& rng);

/// Inputs that must be refused: the shape check has to throw, naming the op and the shapes.
using BadSampleMaker = std::vector<Sample> (*)();

struct Op {
  const char* name;
  /// The shape check, the only place that throws: declares the outputs.
  void (*infer)(const Call&, Outputs&);
  /// Fills the outputs; they are allocated and uninitialised.
  void (*forward)(const Call&, std::span<Tensor> out);
  void (*vjp)(const Vjp&) = nullptr;
  void (*fused_vjp)(const Vjp&) = nullptr;
  Tensor (*composite)(std::span<const Tensor> in, const Attrs&) = nullptr;
  /// Bit i: the derivative reads the values of input i (the others are not kept alive). Leave it
  /// alone where there is a fused_vjp: a replay of the composite reads everything.
  uint32_t reads = ~0u;
  bool reads_output = false;
  /// Floating-point operations of the forward kernel (multiply-add = 2); default: one an element.
  double (*flops)(const Call&) = nullptr;
  /// Operations of fused_vjp, in units of the forward's.
  double vjp_flops_ratio = 2;
  SampleMaker samples = nullptr;
  BadSampleMaker bad_samples = nullptr;
};

/// Runs an op: shape check, kernel, and a graph node if an input requires a gradient.
Tensor apply(const Op& op, std::span<const Tensor> inputs, const Attrs& attrs = {});
inline Tensor apply(const Op& op, std::initializer_list<Tensor> inputs, const Attrs& attrs = {}) {
  return apply(op, std::span<const Tensor>(inputs.begin(), inputs.size()), attrs);
}

/// The same for an op whose output is x's own buffer under another shape (reshape, identity).
Tensor apply_view(const Op& op, const Tensor& x, const Shape& shape, const Attrs& attrs = {});

/// All ops by name, sorted. Ops register with a namespace-scope `const RegisterOp r(op);`.
const std::vector<const Op*>& registered_ops();
struct RegisterOp {
  explicit RegisterOp(const Op& op);
};

/// Floating-point operations executed so far by this process, forward and derivative kernels alike.
double executed_flops();
void count_flops(double flops);

/// While one is alive, every op checks its outputs and a NaN or infinity throws Fault::numeric with
/// the op's name and shapes (used to find the culprit after a non-finite loss).
struct FiniteChecks {
  FiniteChecks();
  ~FiniteChecks();
};

}  // namespace kindred
