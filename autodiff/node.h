// Node: one recorded call. Internal to the engine (op.cpp, graph.cpp and recompute.cpp).
#pragma once
#include <functional>
#include <memory>
#include <vector>

#include "autodiff/op.h"

namespace kindred {

/// What a recompute() keeps in place of an op's inputs.
struct Rerun {
  std::function<Tensor(const Tensor&)> f;
  Tensor x;
  std::vector<Tensor> reads;  ///< all that f reads and that requires a gradient, each once
};

struct Node {
  std::atomic<int> refs{1};
  uint64_t id = 0;         ///< grows with time: a node's inputs have smaller ids
  const Op* op = nullptr;  ///< the op called; for a replay node, the op whose fused_vjp was called
  bool replay = false;     ///< outputs are the input gradients of `op` at (inputs..., g)
  bool released = false;   ///< inputs were let go by a grad() without retain_graph
  Attrs attrs;
  int input_count = 0, output_count = 0;
  std::array<Tensor, kMaxInputs + 1> inputs;  ///< replay: the op's inputs, then g
  std::array<Outputs::Spec, kMaxOutputs> output_spec;
  std::array<Tensor, kMaxOutputs> saved;  ///< [0]: output 0 without history if the op reads it
  std::unique_ptr<Rerun> rerun;           ///< of a recompute() only
  // Scratch of grad():
  std::array<Tensor, kMaxOutputs> cotangent;
  uint64_t visit = 0;
  bool needed = false;

  /// The tensors that the node was computed from.
  std::span<const Tensor> sources() const {
    if (rerun) return rerun->reads;
    return {inputs.data(), static_cast<std::size_t>(input_count)};
  }
};

Node* new_node();

/// Ops report their inputs here: the first run of a recompute() in this thread lists those that
/// require a gradient.
void note_read(const Tensor& t);
bool noting_reads();

/// Throws Fault::numeric if FiniteChecks are on and `out` holds a NaN or an infinity.
void check_finite(const Op& op, const Call& call, const Tensor& out);

/// Cotangent of one input, added to what is there already.
void accumulate(Tensor& sum, const Tensor& term);

}  // namespace kindred
