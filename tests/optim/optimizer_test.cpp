// Optimizers against published vectors (p0 = 1, g = .5, -.25, 1, 0, -2) and plain scalar
// recursions.
#include "optim/optimizer.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <map>

#include "autodiff/describe.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"
#include "autodiff/rng.h"
#include "tests/support/tensors.h"

using namespace kindred;
using namespace kindred::test;

namespace {

constexpr double kGradients[] = {0.5, -0.25, 1, 0, -2};

void set(optim::Optimizer& o, const std::string& name, double value) {
  for (const auto& option : o.options())
    if (option.name == name) {
      *std::get<double*>(option.value) = value;
      return;
    }
  FAIL("no option " << name);
}

/// Value of a one-number parameter after each of the five steps.
std::vector<double> path_of(optim::Optimizer& o, double lr, bool decay = true,
                            DType dtype = DType::f64) {
  Tensor p = Tensor::ones({1}, dtype);
  const optim::SlabEntry entries[] = {{"p", &p, decay}};
  optim::Slab slab(entries);
  o.attach(slab);
  std::vector<double> path;
  for (double g : kGradients) {
    const Tensor gradient[] = {Tensor::full({1}, g, dtype)};
    CHECK(o.step(slab, gradient, lr).applied);
    path.push_back(p.item());
  }
  return path;
}

void check_path(const std::vector<double>& path, std::vector<double> truth, double margin = 1e-8) {
  for (std::size_t i = 0; i < 5; ++i) CHECK(path[i] == Approx(truth[i]).epsilon(0).margin(margin));
}

}  // namespace

TEST_CASE("AdamW vector") {
  auto o = optim::make_optimizer("adamw");
  set(*o, "beta1", 0.9);
  set(*o, "beta2", 0.99);
  set(*o, "weight_decay", 0.1);
  const std::vector<double> truth = {.989000000, .985344006, .977794534, .971427547, .972912568};
  check_path(path_of(*o, 0.01), truth);
  CHECK(o->steps() == 5);
  check_path(path_of(*o, 0.01, true, DType::f32), truth, 1e-6);
}

TEST_CASE("Lion vector") {
  auto o = optim::make_optimizer("lion");
  set(*o, "beta1", 0.9);
  set(*o, "beta2", 0.99);
  set(*o, "weight_decay", 1);
  check_path(path_of(*o, 1e-3), {.998000000, .998002000, .996003998, .994007994, .994013986});
}

TEST_CASE("Lion does not move where there was never a gradient") {
  auto o = optim::make_optimizer("lion");
  set(*o, "weight_decay", 0);
  Tensor p = Tensor::ones({3});
  const optim::SlabEntry entries[] = {{"p", &p}};
  optim::Slab slab(entries);
  o->attach(slab);
  const Tensor none[] = {Tensor::zeros({3})};
  o->step(slab, none, 0.1);
  CHECK(p.item(1) == 1);
}

TEST_CASE("Adam: without decay as AdamW, with decay an L2 penalty") {
  auto adam = optim::make_optimizer("adam"), adamw = optim::make_optimizer("adamw");
  set(*adamw, "weight_decay", 0);
  CHECK(path_of(*adam, 0.01) == path_of(*adamw, 0.01));
  set(*adam, "weight_decay", 0.3);
  double p = 1, m = 0, v = 0;
  std::vector<double> truth;
  for (int t = 1; t <= 5; ++t) {
    const double g = kGradients[t - 1] + 0.3 * p;
    m = 0.9 * m + 0.1 * g;
    v = 0.999 * v + 0.001 * g * g;
    p -= 0.01 * (m / (1 - std::pow(0.9, t))) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
    truth.push_back(p);
  }
  check_path(path_of(*adam, 0.01), truth, 1e-12);
}

TEST_CASE("SGD with momentum, Nesterov, and decay") {
  for (const bool nesterov : {false, true}) {
    auto o = optim::make_optimizer("sgd");
    set(*o, "momentum", 0.8);
    set(*o, "weight_decay", 0.1);
    for (const auto& option : o->options())
      if (option.name == "nesterov") *std::get<bool*>(option.value) = nesterov;
    double p = 1, b = 0;
    std::vector<double> truth;
    for (double gradient : kGradients) {
      const double g = gradient + 0.1 * p;
      b = 0.8 * b + g;
      p -= 0.05 * (nesterov ? g + 0.8 * b : b);
      truth.push_back(p);
    }
    check_path(path_of(*o, 0.05), truth, 1e-14);
  }
}

TEST_CASE("segments have their own decay and learning rate") {
  auto o = optim::make_optimizer("adamw");
  set(*o, "weight_decay", 0.5);
  Tensor a = Tensor::ones({3}, DType::f64), b = Tensor::ones({3}, DType::f64);
  const optim::SlabEntry entries[] = {{"a", &a, true, 1}, {"b", &b, false, 0.1}};
  optim::Slab slab(entries);
  o->attach(slab);
  const Tensor g[] = {Tensor::ones({3}, DType::f64), Tensor::ones({3}, DType::f64)};
  o->step(slab, g, 0.01);
  CHECK(a.item(0) == Approx(1 - 0.01 * 0.5 - 0.01).epsilon(1e-9));
  CHECK(b.item(2) == Approx(1 - 0.001).epsilon(1e-9));
}

TEST_CASE("clipping to the global norm, and steps that are not applied") {
  CHECK(optim::clip_factor(10, 1) == Approx(0.1).epsilon(1e-6));
  CHECK(optim::clip_factor(0.5, 1) == 1);
  CHECK(optim::clip_factor(10, 0) == 1);
  CHECK(optim::clip_factor(0, 1) == 1);
  auto o = optim::make_optimizer("sgd");
  set(*o, "momentum", 0);
  Tensor a = Tensor::zeros({1}, DType::f64), b = Tensor::zeros({1}, DType::f64);
  const optim::SlabEntry entries[] = {{"a", &a}, {"b", &b}};
  optim::Slab slab(entries);
  o->attach(slab);
  const Tensor g[] = {Tensor::full({1}, 3, DType::f64), Tensor::full({1}, 4, DType::f64)};
  const auto outcome = o->step(slab, g, 1, 0.5);
  CHECK(outcome.gradient_norm == Approx(5));
  CHECK(a.item() == Approx(-0.3).epsilon(1e-6));
  CHECK(b.item() == Approx(-0.4).epsilon(1e-6));
  for (double bad : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    const Tensor broken[] = {Tensor::full({1}, bad, DType::f64), g[1]};
    const auto refused = o->step(slab, broken, 1, 0.5);
    CHECK_FALSE(refused.applied);
    CHECK_FALSE(std::isfinite(refused.gradient_norm));
  }
  CHECK(a.item() == Approx(-0.3).epsilon(1e-6));
  CHECK(o->steps() == 1);
}

TEST_CASE("a step needs a slab that the optimizer knows") {
  Tensor p = Tensor::zeros({3}), q = Tensor::zeros({300});
  const optim::SlabEntry ep[] = {{"p", &p}}, eq[] = {{"q", &q}};
  optim::Slab small(ep), large(eq);
  const Tensor g[] = {Tensor::zeros({3})}, h[] = {Tensor::zeros({300})};
  auto o = optim::make_optimizer("lion");
  CHECK_THROWS_WITH(o->step(small, g, 1), Catch::Contains("attach"));
  o->attach(small);
  CHECK_NOTHROW(o->step(small, g, 1));
  CHECK_THROWS_WITH(o->step(large, h, 1), Catch::Contains("attach"));
}

TEST_CASE("every optimizer: same bits for one thread and two, resumes exactly, allocates nothing") {
  const int before = threads();
  constexpr int64_t n = 70001;
  for (const auto& entry : optim::optimizers()) {
    INFO(entry.name);
    auto run = [&](int count, int steps, int resume_at) {
      set_threads(count);
      Tensor a = Rng(1).normal({n}), b = Rng(2).normal({33});
      const optim::SlabEntry entries[] = {{"a", &a, true}, {"b", &b, false, 0.1}};
      optim::Slab slab(entries);
      auto o = entry.make();
      o->attach(slab);
      for (int s = 0; s < steps; ++s) {
        if (s == resume_at) {  // a new optimizer with the stored slots
          auto other = entry.make();
          other->attach(slab);
          for (std::size_t k = 0; k < o->slots().size(); ++k) {
            CHECK(other->slots()[k].name == o->slots()[k].name);
            other->slots()[k].values.copy_from(o->slots()[k].values);
          }
          other->set_steps(o->steps());
          o = std::move(other);
        }
        const Tensor g[] = {Rng(3).split(s).normal({n}), Rng(4).split(s).normal({33})};
        if (s == 2 && resume_at < 0) pool::freeze();
        o->step(slab, g, 1e-2, 1.0);
        if (s == 2 && resume_at < 0) CHECK(pool::stats().allocations_when_frozen == 0);
      }
      return slab.values().clone();
    };
    const Tensor one = run(1, 5, -1);
    CHECK(same_bits(one, run(2, 5, -1)));
    CHECK(same_bits(one, run(2, 5, 3)));
  }
  set_threads(before);
}

TEST_CASE("every optimizer finds the minimum of a quadratic") {
  for (const auto& entry : optim::optimizers()) {
    INFO(entry.name);
    auto o = entry.make();
    set(*o, "weight_decay", 0);
    Tensor p = Rng(1).normal({10}, DType::f64);
    const Tensor target = Rng(2).normal({10}, DType::f64);
    const optim::SlabEntry entries[] = {{"p", &p}};
    optim::Slab slab(entries);
    o->attach(slab);
    for (int s = 0; s < 600; ++s) {
      Tensor g = Tensor::empty({10}, DType::f64);
      for (int i = 0; i < 10; ++i)
        g.mutable_data<double>()[i] = (1 + i) * (p.item(i) - target.item(i));
      o->step(slab, std::span<const Tensor>(&g, 1),
              (entry.name == "sgd" ? 0.02 : 0.05) * (1 - s / 600.0));
    }
    for (int i = 0; i < 10; ++i) CHECK(p.item(i) == Approx(target.item(i)).margin(2e-3));
  }
}

TEST_CASE("optimizers are found by name, and their options are described") {
  for (const auto& entry : optim::optimizers()) {
    auto o = optim::make_optimizer(entry.name);
    CHECK(o->name() == entry.name);
    std::map<std::string, std::string> seen;
    auto visitor = [&](const std::string& name, auto&, const std::string& help) {
      seen[name] = help;
    };
    describe(*o, visitor);
    CHECK(seen.count("weight_decay"));
    for (const auto& [name, help] : seen) CHECK_FALSE(help.empty());
  }
  for (const optim::OptimizerEntry& known : optim::optimizers())
    CHECK_THROWS_WITH(optim::make_optimizer("adagrad"),
                      Catch::Contains("\"adagrad\"; choose one of") && Catch::Contains(known.name));
}
