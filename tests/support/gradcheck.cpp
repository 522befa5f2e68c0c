#include "tests/support/gradcheck.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <limits>
#include <sstream>

#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/reduce.h"
#include "tests/support/tensors.h"

namespace kindred::test {

namespace {

double dot(const Tensor& a, const Tensor& b) {
  double total = 0;
  for (int64_t i = 0; i < a.numel(); ++i) total += a.item(i) * b.item(i);
  return total;
}
/// Root of the summed squares of the terms of dot(a, b): its size if nothing cancels by luck.
double spread(const Tensor& a, const Tensor& b) {
  double total = 0;
  for (int64_t i = 0; i < a.numel(); ++i) total += std::pow(a.item(i) * b.item(i), 2);
  return std::sqrt(total);
}
Tensor moved(const Tensor& x, double h, const Tensor& v) {
  Tensor y = Tensor::empty(x.shape(), DType::f64);
  for (int64_t i = 0; i < x.numel(); ++i) y.mutable_data<double>()[i] = x.item(i) + h * v.item(i);
  return y;
}
/// Derivative of s at 0 to fourth order.
double slope(const std::function<double(double)>& s) {
  constexpr double h = 1e-4;
  return (8 * (s(h) - s(-h)) - (s(2 * h) - s(-2 * h))) / (12 * h);
}

struct Problem {
  const Function& f;
  std::vector<Tensor> xs;   // leaves where differentiated
  std::vector<int> active;  // which of xs

  std::vector<Tensor> leaves() const {
    std::vector<Tensor> found;
    for (int i : active) found.push_back(xs[i]);
    return found;
  }
  Problem with(int i, const Tensor& x) const {
    Problem p = *this;
    p.xs[i] = Tensor(x).set_requires_grad();
    return p;
  }
  Tensor value() const { return f(xs); }
  /// Gradients of <u, f>; zeros where f does not depend on anything.
  std::vector<Tensor> gradients(const Tensor& u, bool create_graph) const {
    const Tensor y = value();
    if (y.requires_grad()) return grad(y, leaves(), u, {.create_graph = create_graph});
    std::vector<Tensor> none;
    for (int i : active) none.push_back(Tensor::zeros(xs[i].shape(), DType::f64));
    return none;
  }
};

std::string compare(const char* what, int input, double analytic, double numeric, double size,
                    double tolerance) {
  const double scale = std::max({std::abs(numeric), size, 1e-4});
  if (std::abs(analytic - numeric) <= tolerance * scale) return "";
  std::ostringstream text;
  text.precision(12);
  text << what;
  if (input >= 0) text << " with respect to input " << input;
  text << ": " << analytic << ", by differences " << numeric << " (relative error "
       << std::abs(analytic - numeric) / scale << "); ";
  return text.str();
}

}  // namespace

std::string gradient_error(const Function& f, std::vector<Tensor> xs, const Rng& rng, double tol1,
                           double tol2, const std::vector<bool>& differentiable) {
  EnableGrad on;
  Problem p{f, {}, {}};
  for (std::size_t i = 0; i < xs.size(); ++i) {
    const bool active =
        xs[i].dtype() == DType::f64 && (differentiable.empty() || differentiable[i]);
    p.xs.push_back(active ? xs[i].clone().set_requires_grad() : xs[i].detach());
    if (active) p.active.push_back(static_cast<int>(i));
  }
  const Tensor y = p.value();
  if (y.dtype() != DType::f64) return "the result is not f64; ";
  Tensor u = rng.split("u").normal(y.shape(), DType::f64).set_requires_grad();
  std::vector<Tensor> v, w;
  for (int i : p.active) {
    // Bounded directions: a sample keeps its distance from kinks.
    v.push_back(moved(Tensor::full(xs[i].shape(), -1, DType::f64), 2,
                      rng.split("v").split(i).uniform(xs[i].shape(), DType::f64)));
    w.push_back(rng.split("w").split(i).normal(xs[i].shape(), DType::f64));
  }

  std::string errors;
  const std::vector<Tensor> first = p.gradients(u, false);
  for (std::size_t k = 0; k < p.active.size(); ++k) {
    const int i = p.active[k];
    const double numeric =
        slope([&](double h) { return dot(u, p.with(i, moved(p.xs[i], h, v[k])).value()); });
    errors +=
        compare("first derivative", i, dot(first[k], v[k]), numeric, spread(first[k], v[k]), tol1);
  }
  if (tol2 <= 0 || !errors.empty()) return errors;

  auto projected = [&](const Problem& at, const Tensor& seed) {
    const std::vector<Tensor> g = at.gradients(seed, false);
    double total = 0;
    for (std::size_t k = 0; k < g.size(); ++k) total += dot(w[k], g[k]);
    return total;
  };
  const std::vector<Tensor> recorded = p.gradients(u, true);
  std::vector<Tensor> ys, seeds, at = p.leaves();
  for (std::size_t k = 0; k < recorded.size(); ++k) {
    if (relative_difference(recorded[k], first[k]) > 1e-11)
      errors += "first derivative changes when it is recorded; ";
    if (!recorded[k].requires_grad()) continue;
    ys.push_back(recorded[k]);
    seeds.push_back(w[k]);
  }
  at.push_back(u);
  std::vector<Tensor> second;
  if (!ys.empty()) {
    second = grad(ys, at, seeds);
  } else {
    for (const Tensor& x : at) second.push_back(Tensor::zeros(x.shape(), DType::f64));
  }
  for (std::size_t k = 0; k < p.active.size(); ++k) {
    const int i = p.active[k];
    const double numeric =
        slope([&](double h) { return projected(p.with(i, moved(p.xs[i], h, v[k])), u); });
    errors += compare("second derivative", i, dot(second[k], v[k]), numeric,
                      spread(second[k], v[k]), tol2);
  }
  const Tensor vu = rng.split("vu").normal(u.shape(), DType::f64);
  const double numeric = slope([&](double h) { return projected(p, moved(u, h, vu)); });
  errors += compare("derivative of the gradient in its cotangent", -1, dot(second.back(), vu),
                    numeric, spread(second.back(), vu), tol2);
  return errors;
}

void check_gradients(const Function& f, std::vector<Tensor> xs, const Rng& rng, double tol1,
                     double tol2, const std::vector<bool>& differentiable) {
  CHECK(gradient_error(f, std::move(xs), rng, tol1, tol2, differentiable) == "");
}

void check_message(const std::string& error) { FAIL_CHECK(error); }

}  // namespace kindred::test
