#include "diffusion/mask_process.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "autodiff/check.h"

namespace kindred::diffusion {
namespace {

/// k ln t + m ln(1 - t) with 0 ln 0 = 0.
double log_powers(double t, int64_t k, int64_t m) {
  return (k > 0 ? static_cast<double>(k) * std::log(t) : 0.0) +
         (m > 0 ? static_cast<double>(m) * std::log1p(-t) : 0.0);
}

/// The first index at which the running sum of p exceeds u.
int64_t invert(const std::vector<double>& p, double u) {
  double sum = 0;
  for (std::size_t i = 0; i + 1 < p.size(); ++i)
    if ((sum += p[i]) > u) return static_cast<int64_t>(i);
  return static_cast<int64_t>(p.size()) - 1;
}

}  // namespace

double inside_unit(double x) { return std::clamp(x - std::floor(x), 1e-12, 1 - 1e-12); }

MaskProcess::MaskProcess(int64_t n, int64_t timesteps) : n_(n), steps_(timesteps) {
  check(n >= 1, "mask process", n, " symbols");
  check(timesteps >= 0, "mask process", timesteps, " steps of time");
  q_.assign(n, 1.0 / static_cast<double>(n));
  if (steps_ == 0) return;
  const auto T = static_cast<double>(steps_);
  for (int64_t k = 1; k <= n; ++k) {
    const double choose = std::lgamma(n + 1.0) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1.0);
    double sum = 0;
    for (int64_t i = 1; i <= steps_; ++i)
      sum += std::exp(choose + log_powers(static_cast<double>(i) / T, k, n - k)) /
             static_cast<double>(i);
    q_[k - 1] = sum * static_cast<double>(k) / static_cast<double>(n);
  }
}

Hiding MaskProcess::at_time(double u, const Rng& rng) const {
  Hiding draw;
  draw.time = u;
  if (steps_ > 0) {
    const auto T = static_cast<double>(steps_);
    draw.time = std::min(std::floor(u * T) + 1, T) / T;
  }
  draw.weight = 1 / draw.time;
  draw.hidden.resize(n_);
  for (int64_t i = 0; i < n_; ++i) draw.hidden[i] = rng.uniform(i) < draw.time;
  return draw;
}

// The k symbols with the smallest of n uniform numbers; the k-th smallest itself is Beta(k, n - k +
// 1) distributed and independent of which symbols they are, as t given k is in continuous time.
Hiding MaskProcess::of_count(double u, const Rng& rng) const {
  const int64_t k =
      1 + (steps_ > 0 ? invert(q_, u)
                      : std::min(static_cast<int64_t>(u * static_cast<double>(n_)), n_ - 1));
  std::vector<double> numbers(n_);
  for (int64_t i = 0; i < n_; ++i) numbers[i] = rng.uniform(i);
  std::vector<int64_t> order(n_);
  std::iota(order.begin(), order.end(), int64_t{0});
  std::nth_element(order.begin(), order.begin() + (k - 1), order.end(), [&](int64_t a, int64_t b) {
    return numbers[a] != numbers[b] ? numbers[a] < numbers[b] : a < b;
  });
  Hiding draw;
  draw.hidden.assign(n_, false);
  for (int64_t j = 0; j < k; ++j) draw.hidden[order[j]] = true;
  draw.weight = static_cast<double>(n_) / static_cast<double>(k);
  draw.time = time_of_count(k, numbers[order[k - 1]], rng);
  return draw;
}

double MaskProcess::time_of_count(int64_t k, double kth_smallest, const Rng& rng) const {
  if (steps_ == 0) return kth_smallest;
  const auto T = static_cast<double>(steps_);
  std::vector<double> logs(steps_);
  for (int64_t i = 1; i <= steps_; ++i)
    logs[i - 1] =
        log_powers(static_cast<double>(i) / T, k, n_ - k) - std::log(static_cast<double>(i));
  const double top = *std::max_element(logs.begin(), logs.end());
  double total = 0;
  for (double& x : logs) total += x = std::exp(x - top);
  return static_cast<double>(1 + invert(logs, rng.uniform(n_) * total)) / T;
}

}  // namespace kindred::diffusion
