#include "autodiff/op.h"

#include <atomic>
#include <cmath>
#include <string>

#include "autodiff/graph.h"
#include "autodiff/node.h"
#include "autodiff/profile.h"

namespace kindred {

namespace {
std::vector<const Op*>& registry() {
  static auto* ops = new std::vector<const Op*>;
  return *ops;
}
double g_flops = 0;
int g_finite_checks = 0;

Ref<Node> record_call(const Op& op, std::span<const Tensor> inputs, const Attrs& attrs,
                      const Tensor& out) {
  Ref<Node> node(new_node());
  node->op = &op;
  node->attrs = attrs;
  node->input_count = static_cast<int>(inputs.size());
  node->output_count = 1;
  node->output_spec[0] = {out.shape(), out.dtype()};
  for (int i = 0; i < node->input_count; ++i) {
    // A leaf keeps its identity, which is its handle.
    const bool leaf = inputs[i].requires_grad() && !inputs[i].node();
    const bool keep = (op.reads >> i & 1) || leaf;
    node->inputs[i] = keep ? inputs[i] : inputs[i].without_data();
  }
  return node;
}
}  // namespace

namespace {
std::string shapes_of(std::span<const Tensor> inputs) {
  std::string text;
  for (const Tensor& t : inputs) text += (text.empty() ? "" : ", ") + t.shape().str();
  return text;
}
/// The op's shape check; a message about a setting alone is completed by the shapes.
void infer(const Op& op, const Call& call, Outputs& outputs) {
  try {
    op.infer(call, outputs);
  } catch (const Error& e) {
    const std::string text = e.what();
    if (text.find('[', 1) != std::string::npos) throw;
    throw Error(e.fault(), text + "; inputs " + shapes_of(call.in));
  }
}
}  // namespace

void check_finite(const Op& op, const Call& call, const Tensor& out) {
  if (!g_finite_checks || !out.defined() || !out.is_float()) return;
  const int64_t n = out.numel();
  const bool finite = dispatch_float(out.dtype(), [&]<class T>(T) {
    const T* p = out.data<T>();
    for (int64_t i = 0; i < n; ++i)
      if (!std::isfinite(p[i])) return false;
    return true;
  });
  if (finite) return;
  fail(Fault::numeric, op.name, "produced a NaN or an infinity from inputs of shapes ",
       shapes_of(call.in));
}

RegisterOp::RegisterOp(const Op& op) {
  auto& ops = registry();
  ops.insert(
      std::upper_bound(ops.begin(), ops.end(), &op,
                       [](const Op* a, const Op* b) { return std::strcmp(a->name, b->name) < 0; }),
      &op);
}
const std::vector<const Op*>& registered_ops() { return registry(); }

double executed_flops() { return g_flops; }
void count_flops(double flops) { g_flops += flops; }

FiniteChecks::FiniteChecks() { ++g_finite_checks; }
FiniteChecks::~FiniteChecks() { --g_finite_checks; }

Tensor apply(const Op& op, std::span<const Tensor> inputs, const Attrs& attrs) {
  check(inputs.size() <= kMaxInputs, op.name, "more than ", kMaxInputs, " inputs");
  bool record = false;
  for (const Tensor& t : inputs) {
    check(t.defined(), op.name, "undefined input");
    record |= t.requires_grad();
    note_read(t);
  }
  record &= grad_enabled();

  ProfileScope profile(op.name);
  const Call call{inputs, attrs};
  Outputs outputs;
  infer(op, call, outputs);
  std::array<Tensor, kMaxOutputs> out;
  for (int i = 0; i < outputs.count; ++i)
    out[i] = Tensor::empty(outputs.spec[i].shape, outputs.spec[i].dtype);
  op.forward(call, std::span(out.data(), outputs.count));
  g_flops += op.flops ? op.flops(call) : static_cast<double>(out[0].numel());
  profile.moved(inputs);
  profile.moved(std::span<const Tensor>(out.data(), outputs.count));
  check_finite(op, call, out[0]);
  if (!record || !out[0].is_float() || (!op.vjp && !op.fused_vjp)) return std::move(out[0]);

  Ref<Node> node = record_call(op, inputs, attrs, out[0]);
  if (op.reads_output) node->saved[0] = out[0];
  for (int i = 1; i < outputs.count; ++i) node->saved[i] = out[i];
  return Tensor::attached(out[0], node.get(), 0);
}

Tensor apply_view(const Op& op, const Tensor& x, const Shape& shape, const Attrs& attrs) {
  const Tensor out = x.viewed_as(shape);
  note_read(x);
  if (!grad_enabled() || !x.requires_grad()) return out;
  return Tensor::attached(out, record_call(op, std::span(&x, 1), attrs, out).get(), 0);
}

}  // namespace kindred
