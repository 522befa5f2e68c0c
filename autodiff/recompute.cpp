// The first run of f, without recording. What it reads is noted on the way, as these are the
// inputs of the node: grad() must know what lies behind it before f runs again. That run is in
// graph.cpp.
#include "autodiff/recompute.h"

#include <algorithm>

#include "autodiff/graph.h"
#include "autodiff/node.h"

namespace kindred {

namespace {
thread_local std::vector<Tensor>* g_reads = nullptr;

/// Reads are noted in `list` while one is alive.
class NoteReads {
 public:
  explicit NoteReads(std::vector<Tensor>& list) : before_(g_reads) { g_reads = &list; }
  ~NoteReads() { g_reads = before_; }
  NoteReads(const NoteReads&) = delete;
  NoteReads& operator=(const NoteReads&) = delete;

 private:
  std::vector<Tensor>* before_;
};

const Op recompute_op = [] {
  Op op{};
  op.name = "recompute";
  return op;
}();
}  // namespace

bool noting_reads() { return g_reads != nullptr; }

void note_read(const Tensor& t) {
  if (!g_reads || !t.requires_grad()) return;
  if (std::any_of(g_reads->begin(), g_reads->end(), [&](const Tensor& r) { return r.same_as(t); }))
    return;
  // A leaf is its handle; of a result its history is enough, f holds the values.
  g_reads->push_back(t.node() ? t.without_data() : t);
}

Tensor recompute(const std::function<Tensor(const Tensor&)>& f, const Tensor& x) {
  if (!grad_enabled()) return f(x);
  auto rerun = std::make_unique<Rerun>();
  Tensor y;
  {
    const NoGrad off;
    const NoteReads noted(rerun->reads);
    y = f(x);
    note_read(y);  // f may return what it was given
  }
  if (rerun->reads.empty() || !y.is_float()) return y;
  rerun->f = f;
  rerun->x = x;
  const Ref<Node> node(new_node());
  node->op = &recompute_op;
  node->output_count = 1;
  node->output_spec[0] = {y.shape(), y.dtype()};
  node->rerun = std::move(rerun);
  return Tensor::attached(y, node.get(), 0);
}

}  // namespace kindred
