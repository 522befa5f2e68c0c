// Property tests of every registered op, over the samples each brings along:
// derivatives of first and second order, fused kernel = composite, f32 = f64 to rounding, extents
// around the vector width, one thread = two threads, no allocation when repeated, refusals.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <set>

#include "autodiff/graph.h"
#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "tests/support/gradcheck.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

constexpr int64_t kWidths[] = {1, 15, 16, 17, 67};  // around the 16 floats of a vector
constexpr int64_t kLong = 1031;                     // several chunks of work

bool has_derivative(const Op& op) { return op.vjp || op.fused_vjp; }

std::vector<bool> active_of(const Sample& s) {
  if (!s.differentiable.empty()) return s.differentiable;
  std::vector<bool> active;
  for (const Tensor& t : s.inputs) active.push_back(t.is_float());
  return active;
}

std::string title(const Op& op, const Sample& s, int64_t width) {
  std::string text =
      std::string(op.name) + " \"" + s.label + "\" width " + std::to_string(width) + ':';
  for (const Tensor& t : s.inputs) text += ' ' + t.shape().str();
  return text;
}

/// Value and input gradients for a cotangent that is a fixed function of the output's shape.
struct Result {
  Tensor y;
  std::vector<Tensor> dx;
};
using Run = std::function<Tensor(std::span<const Tensor>)>;
Result evaluate(const Run& f, const Sample& s, bool derivative) {
  std::vector<Tensor> in, leaves;
  const std::vector<bool> active = active_of(s);
  for (std::size_t i = 0; i < s.inputs.size(); ++i) {
    in.push_back(s.inputs[i].detach());
    if (!active[i]) continue;
    in.back().set_requires_grad();
    leaves.push_back(in.back());
  }
  Result r{f(in), {}};
  if (derivative && r.y.requires_grad()) {
    const Tensor seed = Rng(5).normal(r.y.shape(), DType::f64).to(r.y.dtype());
    r.dx = grad(r.y, leaves, seed);
  }
  r.y = r.y.detach();
  return r;
}
/// On results of another op, whose values the graph keeps only where `reads` asks for them.
Run call_of(const Op& op, const Attrs& attrs) {
  return [&op, attrs](std::span<const Tensor> in) {
    std::vector<Tensor> results(in.begin(), in.end());
    for (Tensor& t : results)
      if (t.requires_grad()) t = scale(t, 1);
    return apply(op, results, attrs);
  };
}

Sample in_dtype(const Sample& s, DType dtype) {
  Sample out = s;
  for (Tensor& t : out.inputs)
    if (t.is_float()) t = t.to(dtype);
  return out;
}

/// body(op, sample, width) for every op and sample; failures name the op.
template <class Body>
void for_each_sample(DType dtype, std::span<const int64_t> widths, Body&& body) {
  const char* only = std::getenv("KINDRED_OP");
  for (const Op* op : registered_ops()) {
    if (only && std::string(only) != op->name) continue;
    if (!op->samples) continue;  // reported by a test of its own
    for (int64_t width : widths) {
      for (const Sample& s : op->samples(dtype, width, Rng(11).split(op->name))) {
        INFO(title(*op, s, width));
        try {
          body(*op, s, width);
        } catch (const std::exception& e) {
          FAIL_CHECK(e.what());
        }
      }
    }
  }
}

/// Where a derivative exists in every direction the samples mark; cast changes the dtype.
bool checks_in_f64(const Op& op, const Sample& s) {
  const std::vector<bool> active = active_of(s);
  return has_derivative(op) && std::find(active.begin(), active.end(), true) != active.end();
}

}  // namespace

TEST_CASE("every op has a name, a shape check, a kernel, samples and bad samples") {
  std::set<std::string> names;
  std::string list;
  for (const Op* op : registered_ops()) {
    INFO(op->name);
    CHECK(names.insert(op->name).second);
    CHECK(op->infer);
    CHECK(op->forward);
    CHECK(op->samples);
    CHECK(op->bad_samples);
    CHECK_FALSE((op->vjp && op->fused_vjp));
    if (op->fused_vjp) CHECK(op->composite);
    if (op->samples) {
      CHECK_FALSE(op->samples(DType::f32, 16, Rng(1)).empty());
      CHECK_FALSE(op->samples(DType::f64, 16, Rng(1)).empty());
    }
    if (op->bad_samples) CHECK_FALSE(op->bad_samples().empty());
    list += std::string(list.empty() ? "" : " ") + op->name;
  }
  std::cout << registered_ops().size() << " ops checked: " << list << '\n';
}

TEST_CASE("derivatives of first and second order agree with differences") {
  for_each_sample(DType::f64, kWidths, [](const Op& op, const Sample& s, int64_t width) {
    if (!checks_in_f64(op, s)) return;
    const double second = width == 1 || width == 17 ? 1e-5 : 0;  // the second order is dear
    CHECK(gradient_error(call_of(op, s.attrs), s.inputs, Rng(3), 1e-6, second, active_of(s)) == "");
  });
}

TEST_CASE("fused kernels equal their composites") {
  for (DType dtype : {DType::f64, DType::f32}) {
    const double tolerance = dtype == DType::f64 ? 1e-11 : 2e-5;
    for_each_sample(dtype, kWidths, [&](const Op& op, const Sample& s, int64_t) {
      if (!op.composite) return;
      const Result fused = evaluate(call_of(op, s.attrs), s, has_derivative(op));
      // In f64 also for kernels in f32: where large terms cancel, a composite in f32 is the one
      // that is off.
      const Result reference =
          evaluate([&](std::span<const Tensor> in) { return op.composite(in, s.attrs); },
                   in_dtype(s, DType::f64), has_derivative(op));
      CHECK(relative_difference(fused.y, reference.y) <= tolerance);
      REQUIRE(fused.dx.size() == reference.dx.size());
      for (std::size_t i = 0; i < fused.dx.size(); ++i) {
        INFO("derivative " << i);
        CHECK(relative_difference(fused.dx[i], reference.dx[i]) <= tolerance);
      }
    });
  }
}

TEST_CASE("f32 values and derivatives equal f64 to rounding") {
  for_each_sample(DType::f32, kWidths, [](const Op& op, const Sample& s, int64_t) {
    const Result low = evaluate(call_of(op, s.attrs), s, has_derivative(op));
    const Result high = evaluate(call_of(op, s.attrs), in_dtype(s, DType::f64), has_derivative(op));
    CHECK(relative_difference(low.y, high.y) <= 2e-5);
    REQUIRE(low.dx.size() == high.dx.size());
    for (std::size_t i = 0; i < low.dx.size(); ++i) {
      INFO("derivative " << i);
      CHECK(relative_difference(low.dx[i], high.dx[i]) <= 5e-5);
    }
  });
}

TEST_CASE("one thread and two give the same bits") {
  const int before = threads();
  const int64_t widths[] = {1, 17, 67, kLong};
  for (DType dtype : {DType::f32, DType::f64}) {
    for_each_sample(dtype, widths, [&](const Op& op, const Sample& s, int64_t) {
      const bool derivative = has_derivative(op);
      set_threads(1);
      const Result one = evaluate(call_of(op, s.attrs), s, derivative);
      set_threads(2);
      const Result two = evaluate(call_of(op, s.attrs), s, derivative);
      CHECK(same_bits(one.y, two.y));
      REQUIRE(one.dx.size() == two.dx.size());
      for (std::size_t i = 0; i < one.dx.size(); ++i) {
        INFO("derivative " << i);
        CHECK(same_bits(one.dx[i], two.dx[i]));
      }
    });
  }
  set_threads(before);
}

TEST_CASE("repeating a call takes nothing from the system") {
  const int64_t widths[] = {17};
  for_each_sample(DType::f32, widths, [](const Op& op, const Sample& s, int64_t) {
    const int64_t nodes = live_nodes();
    for (int warm = 0; warm < 2; ++warm) evaluate(call_of(op, s.attrs), s, has_derivative(op));
    pool::freeze();
    evaluate(call_of(op, s.attrs), s, has_derivative(op));
    CHECK(pool::stats().allocations_when_frozen == 0);
    CHECK(live_nodes() == nodes);
  });
}

TEST_CASE("bad inputs are refused with the op and the shapes named") {
  for (const Op* op : registered_ops()) {
    if (!op->bad_samples) continue;
    for (const Sample& s : op->bad_samples()) {
      INFO(title(*op, s, 0));
      try {
        apply(*op, s.inputs, s.attrs);
        FAIL_CHECK("accepted");
      } catch (const Error& e) {
        const std::string text = e.what();
        INFO(text);
        CHECK(e.fault() == Fault::usage);
        CHECK(text.find(op->name) != std::string::npos);
        CHECK(text.find('[', 1) != std::string::npos);  // a shape behind "[op]"
      }
    }
  }
}

TEST_CASE("derivatives leave inputs that are not differentiated alone") {
  const int64_t widths[] = {17};
  for_each_sample(DType::f64, widths, [](const Op& op, const Sample& s, int64_t) {
    if (!checks_in_f64(op, s)) return;
    const Result all = evaluate(call_of(op, s.attrs), s, true);
    // The gradient of one input alone is the gradient of that input among all.
    const std::vector<bool> active = active_of(s);
    std::size_t k = 0;
    for (std::size_t i = 0; i < active.size(); ++i) {
      if (!active[i]) continue;
      Sample alone = s;
      alone.differentiable.assign(active.size(), false);
      alone.differentiable[i] = true;
      const Result one = evaluate(call_of(op, s.attrs), alone, true);
      INFO("input " << i);
      if (!one.dx.empty()) CHECK(same_bits(one.dx[0], all.dx[k]));
      ++k;
    }
  });
}
