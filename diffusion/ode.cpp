// Coefficients and the first step size: Hairer, Norsett, Wanner, Solving Ordinary Differential
// Equations I, tables II.5.2 and section II.4. First same as last: a step costs six evaluations.
#include "diffusion/ode.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace kindred::diffusion {

namespace {
constexpr int kStages = 7;
constexpr double kNodes[kStages] = {0, 1. / 5, 3. / 10, 4. / 5, 8. / 9, 1, 1};
constexpr double kMatrix[kStages][kStages - 1] = {
    {},
    {1. / 5},
    {3. / 40, 9. / 40},
    {44. / 45, -56. / 15, 32. / 9},
    {19372. / 6561, -25360. / 2187, 64448. / 6561, -212. / 729},
    {9017. / 3168, -355. / 33, 46732. / 5247, 49. / 176, -5103. / 18656},
    {35. / 384, 0, 500. / 1113, 125. / 192, -2187. / 6784, 11. / 84},
};
/// Fifth-order minus fourth-order weights.
constexpr double kError[kStages] = {71. / 57600,      0,         -71. / 16695, 71. / 1920,
                                    -17253. / 339200, 22. / 525, -1. / 40};
constexpr double kSafety = 0.9, kShrink = 0.2, kGrow = 10;

struct Slot {
  int64_t row = 0;
  double t = 0, h = 0;
  int64_t attempts = 0;
  bool last = false, rejected = false;
};

class Solver {
 public:
  Solver(const OdeField& field, const Tensor& y0, double t0, double t1, const OdeOptions& options)
      : field_(field),
        y0_(y0),
        t0_(t0),
        t1_(t1),
        options_(options),
        width_(y0.dim(1)),
        capacity_(options.batch > 0 ? std::min(options.batch, y0.dim(0)) : y0.dim(0)) {
    y_.resize(capacity_ * width_);
    trial_.resize(capacity_ * width_);
    error_.resize(width_);
    for (auto& k : k_) k.resize(capacity_ * width_);
    solution_.y = Tensor::empty(y0.shape(), DType::f64);
    solution_.evaluations.assign(y0.dim(0), 0);
    solution_.steps.assign(y0.dim(0), 0);
  }

  OdeSolution run() {
    int64_t next = 0, done = 0;
    const int64_t rows = y0_.dim(0);
    while (done < rows) {
      if (next < rows && static_cast<int64_t>(slots_.size()) < capacity_) next = admit(next);
      attempt_step();
      for (std::size_t i = slots_.size(); i-- > 0;)
        if (judge(i)) {
          remove(i);
          if (++done; options_.progress) options_.progress(done);
        }
    }
    return std::move(solution_);
  }

 private:
  /// Fills the free slots from row `next` on; returns the next waiting row.
  int64_t admit(int64_t next) {
    const auto first = static_cast<int64_t>(slots_.size());
    const int64_t count = std::min(capacity_ - first, y0_.dim(0) - next);
    std::copy_n(y0_.data<double>() + next * width_, count * width_, y_.data() + first * width_);
    for (int64_t i = 0; i < count; ++i) slots_.push_back({.row = next + i, .t = t0_});

    // First step: as large as f and a difference quotient of f allow.
    evaluate(first, count, 0, y_.data(), k_[0].data());
    std::vector<double> guess(count);
    const double direction = t1_ >= t0_ ? 1 : -1;
    for (int64_t i = 0; i < count; ++i) {
      const double* y = y_.data() + (first + i) * width_;
      const double* f = k_[0].data() + (first + i) * width_;
      const double d0 = norm(y, y, y), d1 = norm(f, y, y);
      guess[i] = d0 < 1e-5 || d1 < 1e-5 ? 1e-6 * std::abs(t1_ - t0_) : 0.01 * d0 / d1;
      guess[i] = std::min(guess[i], std::abs(t1_ - t0_));
      slots_[first + i].h = direction * guess[i];
      for (int64_t m = 0; m < width_; ++m)
        trial_[(first + i) * width_ + m] = y[m] + slots_[first + i].h * f[m];
    }
    evaluate(first, count, 1, trial_.data(), k_[1].data());
    for (int64_t i = 0; i < count; ++i) {
      const double* y = y_.data() + (first + i) * width_;
      const double* f = k_[0].data() + (first + i) * width_;
      double* change = k_[1].data() + (first + i) * width_;
      for (int64_t m = 0; m < width_; ++m) change[m] -= f[m];
      const double largest = std::max(norm(f, y, y), norm(change, y, y) / guess[i]);
      const double h =
          largest <= 1e-15 ? 1e-3 * std::abs(t1_ - t0_) : std::pow(0.01 / largest, 0.2);
      slots_[first + i].h = direction * std::min(100 * guess[i], h);
    }
    return next + count;
  }

  /// field at slots [first, first + count): states `from`, times t + node h, into `to`.
  void evaluate(int64_t first, int64_t count, double node, const double* from, double* to) {
    int64_t padded = 1;
    while (padded < count) padded *= 2;
    padded = std::min(padded, capacity_);
    Tensor y = Tensor::empty({padded, width_}, DType::f64), t = Tensor::empty({padded}, DType::f64);
    std::vector<int64_t> rows(padded);
    for (int64_t i = 0; i < padded; ++i) {
      const int64_t at = first + std::min(i, count - 1);
      const Slot& slot = slots_[at];
      std::copy_n(from + at * width_, width_, y.mutable_data<double>() + i * width_);
      t.mutable_data<double>()[i] = slot.t + node * slot.h;
      rows[i] = slot.row;
    }
    const Tensor f = field_(y, t, rows);
    check(f.shape() == y.shape() && f.dtype() == DType::f64, "ode", "the field maps ", y.shape(),
          " f64 to ", f.shape(), ' ', name(f.dtype()));
    std::copy_n(f.data<double>(), count * width_, to + first * width_);
    for (int64_t i = 0; i < count; ++i) {
      const double* p = to + (first + i) * width_;
      const Slot& slot = slots_[first + i];
      ++solution_.evaluations[slot.row];
      if (!std::all_of(p, p + width_, [](double v) { return std::isfinite(v); }))
        fail(Fault::numeric, "ode", "the field of row ", slot.row, " is not finite at time ",
             slot.t + node * slot.h);
    }
  }

  /// Largest of: RMS of e / (atol + rtol max(|a|, |b|)) over the joint components, and each
  /// separate one.
  double norm(const double* e, const double* a, const double* b) const {
    const int64_t joint = width_ - options_.separate;
    const auto scaled = [&](int64_t m) {
      return e[m] / (options_.atol + options_.rtol * std::max(std::abs(a[m]), std::abs(b[m])));
    };
    double squares = 0, largest = 0;
    for (int64_t m = 0; m < joint; ++m) squares += scaled(m) * scaled(m);
    for (int64_t m = joint; m < width_; ++m) largest = std::max(largest, std::abs(scaled(m)));
    return std::max(largest, joint > 0 ? std::sqrt(squares / static_cast<double>(joint)) : 0.0);
  }

  void attempt_step() {
    for (Slot& slot : slots_) {
      if (++slot.attempts > options_.max_steps)
        fail(Fault::numeric, "ode", "row ", slot.row,
             " needs more than max_steps = ", options_.max_steps, " steps: it reached time ",
             slot.t, " on the way from ", t0_, " to ", t1_, "; loosen rtol or raise max_steps");
      slot.last = std::abs(slot.h) >= std::abs(t1_ - slot.t);
      if (slot.last) slot.h = t1_ - slot.t;
    }
    const auto count = static_cast<int64_t>(slots_.size());
    for (int stage = 1; stage < kStages; ++stage) {
      for (int64_t i = 0; i < count; ++i)
        for (int64_t m = i * width_; m < (i + 1) * width_; ++m) {
          double slope = 0;
          for (int j = 0; j < stage; ++j) slope += kMatrix[stage][j] * k_[j][m];
          trial_[m] = y_[m] + slots_[i].h * slope;
        }
      evaluate(0, count, kNodes[stage], trial_.data(), k_[stage].data());
    }
  }

  /// Accepts or rejects the step of slot i and sets its next one. True when the row has arrived.
  bool judge(std::size_t i) {
    Slot& slot = slots_[i];
    const std::size_t begin = i * width_, end = begin + width_;
    for (std::size_t m = begin; m < end; ++m) {
      double e = 0;
      for (int j = 0; j < kStages; ++j) e += kError[j] * k_[j][m];
      error_[m - begin] = slot.h * e;
    }
    const double size = norm(error_.data(), &y_[begin], &trial_[begin]);
    const double factor =
        std::clamp(kSafety * std::pow(std::max(size, 1e-12), -0.2), kShrink, kGrow);
    if (size > 1) {
      slot.h *= factor;
      slot.rejected = true;
      return false;
    }
    std::copy(trial_.begin() + begin, trial_.begin() + end, y_.begin() + begin);
    std::copy(k_[6].begin() + begin, k_[6].begin() + end, k_[0].begin() + begin);
    slot.t += slot.h;
    slot.h *= slot.rejected ? std::min(factor, 1.0) : factor;
    slot.rejected = false;
    ++solution_.steps[slot.row];
    return slot.last;
  }

  void remove(std::size_t i) {
    std::copy_n(y_.data() + i * width_, width_,
                solution_.y.mutable_data<double>() + slots_[i].row * width_);
    const std::size_t back = slots_.size() - 1;
    if (i != back) {
      std::copy_n(y_.data() + back * width_, width_, y_.data() + i * width_);
      std::copy_n(k_[0].data() + back * width_, width_, k_[0].data() + i * width_);
      slots_[i] = slots_[back];
    }
    slots_.pop_back();
  }

  const OdeField& field_;
  const Tensor& y0_;
  const double t0_, t1_;
  const OdeOptions& options_;
  const int64_t width_, capacity_;
  std::vector<Slot> slots_;
  std::vector<double> y_, trial_, error_;
  std::array<std::vector<double>, kStages> k_;
  OdeSolution solution_;
};
}  // namespace

double OdeSolution::mean_evaluations() const {
  return std::accumulate(evaluations.begin(), evaluations.end(), 0.0) /
         std::max<double>(1, static_cast<double>(evaluations.size()));
}

OdeSolution solve_ode(const OdeField& field, const Tensor& y0, double t0, double t1,
                      const OdeOptions& options) {
  check(y0.rank() == 2 && y0.dtype() == DType::f64, "ode", "the state must be [B, M] f64, got ",
        y0.shape(), ' ', name(y0.dtype()));
  check(options.rtol >= 0 && options.atol >= 0 && options.rtol + options.atol > 0, "ode",
        "tolerances must not be negative nor both zero: rtol ", options.rtol, ", atol ",
        options.atol);
  check(options.separate >= 0 && options.separate <= y0.dim(1), "ode", options.separate,
        " separate components of ", y0.dim(1));
  return Solver(field, y0, t0, t1, options).run();
}

}  // namespace kindred::diffusion
