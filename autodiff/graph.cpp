// grad(): reverse accumulation over nodes in descending id. At the node of a recompute() the walk
// takes in the nodes of the second run, in the place that those of the first would have had: so the
// terms of every sum come in the same order.
// A leaf that an op does not read is still kept whole in the node, as its handle is its identity.
#include "autodiff/graph.h"

#include <algorithm>
#include <atomic>

#include "autodiff/node.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "autodiff/profile.h"

namespace kindred {

namespace {
thread_local bool g_record = true;
std::atomic<uint64_t> g_next_id{1};
std::atomic<uint64_t> g_visit{0};
std::atomic<int64_t> g_live{0};
}  // namespace

bool grad_enabled() { return g_record; }
NoGrad::NoGrad() : before_(g_record) { g_record = false; }
NoGrad::~NoGrad() { g_record = before_; }
EnableGrad::EnableGrad() : before_(g_record) { g_record = true; }
EnableGrad::~EnableGrad() { g_record = before_; }
int64_t live_nodes() { return g_live.load(); }

Node* new_node() {
  auto* node = new (pool::allocate(sizeof(Node))) Node;
  node->id = g_next_id.fetch_add(1);
  g_live.fetch_add(1);
  return node;
}
void retain(Node* node) { node->refs.fetch_add(1, std::memory_order_relaxed); }
void release(Node* node) noexcept {
  if (node->refs.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  // Destroying a node can release the next one: a queue instead of recursion, as chains get long.
  thread_local std::vector<Node*> queue;
  thread_local bool draining = false;
  queue.push_back(node);
  if (draining) return;
  draining = true;
  while (!queue.empty()) {
    Node* dead = queue.back();
    queue.pop_back();
    dead->~Node();
    pool::release(dead, sizeof(Node));
    g_live.fetch_sub(1);
  }
  draining = false;
}

void accumulate(Tensor& sum, const Tensor& term) {
  if (!sum.defined()) {
    sum = term;
  } else if (!sum.requires_grad() && !term.requires_grad() && sum.unique()) {
    ProfileScope profile("(accumulate)");
    profile.moved(3.0 * static_cast<double>(sum.bytes()));
    dispatch_float(sum.dtype(), [&]<class T>(T) {
      T* all_s = sum.mutable_data<T>();
      const T* all_t = term.data<T>();
      parallel_for(sum.numel(), kGrain, [=](int64_t b, int64_t e) {
        T* __restrict s = all_s;
        const T* __restrict t = all_t;
        for (int64_t i = b; i < e; ++i) s[i] += t[i];
      });
    });
    count_flops(static_cast<double>(sum.numel()));
  } else {
    sum = add(sum, term);
  }
}

namespace {

/// Nodes reachable from ys, ascending by id. Does not look behind xs if `stop` is set.
std::vector<Node*> reachable(std::span<const Tensor> ys, std::span<const Tensor> xs, uint64_t visit,
                             bool stop) {
  std::vector<Node*> found;
  auto see = [&](Node* node) {
    if (node && node->visit != visit) {
      node->visit = visit;
      node->needed = false;
      for (Tensor& c : node->cotangent) c = {};  // of a grad() that threw half-way
      found.push_back(node);
    }
  };
  for (const Tensor& y : ys) see(y.node());
  for (std::size_t i = 0; i < found.size(); ++i) {
    Node* node = found[i];
    if (stop &&
        std::any_of(xs.begin(), xs.end(), [&](const Tensor& x) { return x.node() == node; }))
      continue;
    for (const Tensor& in : node->sources()) see(in.node());
  }
  std::sort(found.begin(), found.end(), [](Node* a, Node* b) { return a->id < b->id; });
  return found;
}

/// stop_at_xs: the caller promises that no x was computed from another one. A derivative that is
/// taken inside another grad() needs it: it must not touch the marks on the outer nodes.
std::vector<Tensor> run_grad(std::span<const Tensor> ys, std::span<const Tensor> xs,
                             std::span<const Tensor> seeds, GradOptions options, bool stop_at_xs);

using InputGradients = std::array<Tensor, kMaxInputs + 1>;

/// The op's inputs behind identity nodes: derivatives with respect to these are partial, even if
/// one input was computed from another.
std::vector<Tensor> aliases(const Node& node) {
  std::vector<Tensor> in;
  for (int i = 0; i < node.input_count; ++i) {
    const Tensor& x = node.inputs[i];
    if (!x.is_float()) {
      in.push_back(x);
    } else if (x.requires_grad()) {
      in.push_back(identity(x));
    } else {
      in.push_back(x.detach().set_requires_grad());
    }
  }
  return in;
}

/// Records the call of fused_vjp as one node whose outputs are dx.
void record_replay(const Node& node, std::span<const bool> needs, const Tensor& g,
                   InputGradients& dx) {
  bool record = g.requires_grad();
  for (int i = 0; i < node.input_count; ++i) record |= node.inputs[i].requires_grad();
  if (!record) return;
  Ref<Node> made(new_node());
  made->op = node.op;
  made->replay = true;
  made->attrs = node.attrs;
  made->input_count = node.input_count + 1;
  made->output_count = node.input_count;
  for (int i = 0; i < node.input_count; ++i) made->inputs[i] = node.inputs[i];
  made->inputs[node.input_count] = g;
  for (int i = 0; i < node.input_count; ++i) {
    if (!needs[i]) continue;
    made->output_spec[i] = {dx[i].shape(), dx[i].dtype()};
    dx[i] = Tensor::attached(dx[i], made.get(), i);
  }
}

/// Derivative of a replay node: rebuild y from the composite, its gradient with a graph, and
/// differentiate that against the cotangents.
void replay_vjp(Node& node, std::span<const bool> needs, bool create_graph,
                InputGradients& result) {
  EnableGrad on;
  const int n = node.input_count - 1;  // the last input is g
  std::vector<Tensor> alias = aliases(node);
  const std::span<const Tensor> in(alias.data(), n);
  const Tensor y = node.op->composite(in, node.attrs);

  std::vector<Tensor> first_xs, cotangents;
  for (int i = 0; i < n; ++i) {
    if (!node.cotangent[i].defined()) continue;
    first_xs.push_back(alias[i]);
    cotangents.push_back(node.cotangent[i]);
  }
  const std::vector<Tensor> dx = run_grad(std::span(&y, 1), first_xs, std::span(&alias[n], 1),
                                          {.create_graph = true}, /*stop_at_xs=*/true);
  std::vector<Tensor> second_xs, ys, seeds;
  std::vector<int> where;
  for (int i = 0; i <= n; ++i) {
    if (!needs[i]) continue;
    second_xs.push_back(alias[i]);
    where.push_back(i);
  }
  for (std::size_t k = 0; k < dx.size(); ++k) {
    if (!dx[k].requires_grad()) continue;  // linear in x: this derivative is constant
    ys.push_back(dx[k]);
    seeds.push_back(cotangents[k]);
  }
  if (ys.empty()) return;
  auto second = run_grad(ys, second_xs, seeds, {.create_graph = create_graph}, /*stop_at_xs=*/true);
  for (std::size_t k = 0; k < where.size(); ++k) result[where[k]] = second[k];
}

/// Runs the derivative of an op; what the graph was not told to keep is not there.
template <class Derivative>
void run_derivative(const Op& op, const Derivative& derivative, const Vjp& args) {
  try {
    derivative(args);
  } catch (const NoData& error) {
    fail(Fault::usage, op.name, "the derivative asks for a value that the graph has not kept (",
         error.what(), "): add the input to the op's `reads`, or set `reads_output`");
  }
}

void node_vjp(Node& node, std::span<const bool> needs, bool create_graph, InputGradients& dx) {
  if (node.replay) {
    replay_vjp(node, needs, create_graph, dx);
    return;
  }
  const Op& op = *node.op;
  const bool fused = op.fused_vjp != nullptr;
  // Unread inputs were kept without data; a recorded fused derivative may need them for its replay.
  Tensor out;
  if (op.reads_output)
    out = create_graph ? Tensor::attached(node.saved[0], &node, 0) : node.saved[0];
  const Tensor g = node.cotangent[0];
  const Vjp args{std::span<const Tensor>(node.inputs.data(), node.input_count),
                 node.attrs,
                 out,
                 std::span<const Tensor>(node.saved.data() + 1, kMaxOutputs - 1),
                 g,
                 needs,
                 std::span<Tensor>(dx.data(), node.input_count)};
  ProfileScope profile(op.name);
  if (!fused) {
    if (create_graph) {
      EnableGrad on;
      run_derivative(op, op.vjp, args);
    } else {
      NoGrad off;
      run_derivative(op, op.vjp, args);
    }
    return;
  }
  {
    NoGrad off;
    run_derivative(op, op.fused_vjp, args);
    profile.moved(args.in);
    profile.moved(std::span(&args.g, 1));
    profile.moved(args.dx);
    const Call call{args.in, node.attrs};
    for (int i = 0; i < node.input_count; ++i)
      if (needs[i]) check_finite(op, call, dx[i]);
    count_flops(
        op.vjp_flops_ratio *
        (op.flops ? op.flops(call) : static_cast<double>(node.output_spec[0].shape.numel())));
  }
  if (create_graph) record_replay(node, needs, g, dx);
}

/// One grad(): the sums of the gradients of xs, and the walk that fills them.
class Sweep {
 public:
  Sweep(std::span<const Tensor> xs, GradOptions options)
      : xs_(xs), options_(options), sums_(xs.size()) {
    for (std::size_t i = 0; i < xs.size(); ++i) targets_.emplace_back(key_of(xs[i]), i);
    std::sort(targets_.begin(), targets_.end());
  }

  /// The nodes behind ys that this sweep has not seen yet, oldest first, marked where needed.
  std::vector<Ref<Node>> enter(std::span<const Tensor> ys, bool stop_at_xs);
  /// A term of the gradient with respect to `at`.
  void receive(const Tensor& at, const Tensor& g);
  /// From the newest node to the oldest. Unless `keep`, their inputs are let go on the way; the
  /// nodes themselves stay to the end.
  void walk(const std::vector<Ref<Node>>& nodes, bool keep);
  std::vector<Tensor> results();

 private:
  static const void* key_of(const Tensor& t) {
    return t.node() ? static_cast<const void*>(t.node()) : t.raw();
  }
  Tensor* slot(const Tensor& t);
  bool needs(const Tensor& in) {
    const Node* from = in.node();
    return (from && from->visit == visit_ && from->needed) || slot(in);
  }
  void derive(Node& node);
  void run_again(Node& node);

  const uint64_t visit_ = ++g_visit;
  std::span<const Tensor> xs_;
  GradOptions options_;
  std::vector<Tensor> sums_;
  // Where the sum of an x is. The handles are sorted once: with many leaves a linear search per
  // node input would be quadratic.
  std::vector<std::pair<const void*, std::size_t>> targets_;
};

Tensor* Sweep::slot(const Tensor& t) {
  if (!t.requires_grad()) return nullptr;
  const std::pair<const void*, std::size_t> first{key_of(t), 0};
  for (auto it = std::lower_bound(targets_.begin(), targets_.end(), first);
       it != targets_.end() && it->first == first.first; ++it)
    if (xs_[it->second].same_as(t)) return &sums_[it->second];
  return nullptr;
}

std::vector<Ref<Node>> Sweep::enter(std::span<const Tensor> ys, bool stop_at_xs) {
  const std::vector<Node*> nodes = reachable(ys, xs_, visit_, stop_at_xs);
  // A released node hides what lies behind it: only an x that is not older is surely not there.
  for (const Node* node : nodes)
    for (const Tensor& x : xs_)
      check(!node->released || (x.node() && x.node()->id >= node->id), "grad",
            "the graph behind op ", node->op->name, " (x of shape ", x.shape(),
            ") was released by an earlier grad(); pass retain_graph there");
  std::vector<Ref<Node>> alive;
  alive.reserve(nodes.size());
  for (Node* node : nodes) {
    for (const Tensor& in : node->sources())
      if (needs(in)) {
        node->needed = true;
        break;
      }
    retain(node);
    alive.emplace_back(node);
  }
  return alive;
}

void Sweep::receive(const Tensor& at, const Tensor& g) {
  if (Tensor* x = slot(at)) accumulate(*x, g);
  if (Node* node = at.node(); node && node->visit == visit_ && node->needed)
    accumulate(node->cotangent[at.output_index()], g);
}

void Sweep::derive(Node& node) {
  bool wanted[kMaxInputs + 1] = {};
  for (int k = 0; k < node.input_count; ++k) wanted[k] = needs(node.inputs[k]);
  InputGradients dx;
  node_vjp(node, std::span<const bool>(wanted, node.input_count), options_.create_graph, dx);
  for (int k = 0; k < node.input_count; ++k)
    if (wanted[k] && dx[k].defined()) {
      check(dx[k].shape() == node.inputs[k].shape(), node.op->name, "derivative has shape ",
            dx[k].shape(), " for an input of shape ", node.inputs[k].shape());
      Tensor term = std::move(dx[k]);
      receive(node.inputs[k], term);
    }
}

/// The derivative of a recompute(): through the nodes of a second run, which are recorded on the x
/// and the parameters of the first. They stay only where the derivative refers to them.
void Sweep::run_again(Node& node) {
  Tensor g = std::move(node.cotangent[0]), y;
  const uint64_t first = g_next_id.load();
  {
    const EnableGrad on;
    y = node.rerun->f(node.rerun->x);
  }
  const auto& [shape, dtype] = node.output_spec[0];
  check(y.defined() && y.shape() == shape && y.dtype() == dtype, "recompute",
        "the second run gave another shape or dtype than ", shape, ' ', name(dtype),
        "; the function must be pure");
  if (!y.requires_grad()) return;
  const std::vector<Ref<Node>> nodes = enter(std::span(&y, 1), /*stop_at_xs=*/false);
  check(
      nodes.empty() || nodes.front()->id >= first, "recompute",
      "the second run read a result that the first did not; the function must be pure (output of shape ",
      shape, ")");
  receive(y, g);
  y = g = {};
  walk(nodes, options_.create_graph);
}

void Sweep::walk(const std::vector<Ref<Node>>& nodes, bool keep) {
  for (auto it = nodes.rbegin(); it != nodes.rend(); ++it) {
    Node& node = *it->get();
    bool reached = false;
    for (int k = 0; k < node.output_count; ++k) reached |= node.cotangent[k].defined();
    if (node.needed && reached) {
      if (node.rerun) {
        run_again(node);
      } else {
        derive(node);
      }
    }
    for (int k = 0; k < node.output_count; ++k) node.cotangent[k] = {};
    if (!keep && node.needed) {
      node.released = true;
      for (int k = 0; k < node.input_count; ++k) node.inputs[k] = {};
      for (auto& s : node.saved) s = {};
      node.rerun.reset();
    }
  }
}

std::vector<Tensor> Sweep::results() {
  for (std::size_t i = 0; i < xs_.size(); ++i) {
    if (sums_[i].defined()) continue;
    const Tensor* first = slot(xs_[i]);  // the same x given twice is collected once
    sums_[i] = first->defined() ? *first : Tensor::zeros(xs_[i].shape(), xs_[i].dtype());
  }
  return std::move(sums_);
}

std::vector<Tensor> run_grad(std::span<const Tensor> ys, std::span<const Tensor> xs,
                             std::span<const Tensor> seeds, GradOptions options, bool stop_at_xs) {
  const BackwardScope backward;
  const ProfileScope engine("(engine)");
  check(!noting_reads(), "grad",
        "called by a function that recompute() runs; take recompute() of its parts");
  for (const Tensor& y : ys)
    check(y.requires_grad(), "grad", "the output (shape ", y.shape(),
          ") depends on nothing that requires a gradient");
  for (const Tensor& x : xs)
    check(x.requires_grad(), "grad", "an x (shape ", x.shape(), ") does not require a gradient");

  Sweep sweep(xs, options);
  const std::vector<Ref<Node>> nodes = sweep.enter(ys, stop_at_xs);
  for (std::size_t k = 0; k < ys.size(); ++k) {
    Tensor seed = k < seeds.size() && seeds[k].defined()
                      ? seeds[k]
                      : Tensor::ones(ys[k].shape(), ys[k].dtype());
    check(seed.shape() == ys[k].shape() && seed.dtype() == ys[k].dtype(), "grad", "seed of shape ",
          seed.shape(), ' ', name(seed.dtype()), " for an output of shape ", ys[k].shape(), ' ',
          name(ys[k].dtype()));
    sweep.receive(ys[k], options.create_graph ? seed : seed.detach());
  }
  sweep.walk(nodes, options.retain_graph || options.create_graph);
  return sweep.results();
}

}  // namespace

std::vector<Tensor> grad(std::span<const Tensor> ys, std::span<const Tensor> xs,
                         std::span<const Tensor> seeds, GradOptions options) {
  return run_grad(ys, xs, seeds, options, /*stop_at_xs=*/false);
}

std::vector<Tensor> grad(const Tensor& y, std::span<const Tensor> xs, const Tensor& seed,
                         GradOptions options) {
  return grad(std::span<const Tensor>(&y, 1), xs, std::span<const Tensor>(&seed, 1), options);
}

}  // namespace kindred
