#include "ssm/timescales.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace kindred::ssm {

namespace {

double median_of(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

void add_poles(const Tensor& log_dt, const Tensor& log_neg_re, const Tensor& im, Timescales& t) {
  check(log_neg_re.shape() == im.shape() && log_dt.rank() >= 1 && log_dt.rank() <= 2 &&
            im.rank() >= 1 && im.rank() <= 2 && im.numel() > 0,
        t.layer, "has log_dt ", log_dt.shape(), ", log_neg_re ", log_neg_re.shape(), " and im ",
        im.shape());
  const bool shared = im.rank() == 1;  // s5: a step a pole, no channels
  const int64_t H = shared ? 1 : log_dt.dim(0), M = im.dim(im.rank() - 1);
  const int64_t S = shared ? 1 : im.dim(0);
  const bool by_state = shared || log_dt.rank() == 2;
  check(S > 0 && H % S == 0 && log_dt.numel() == (by_state ? H * M : H), t.layer, "has log_dt ",
        log_dt.shape(), " for poles ", im.shape());
  std::vector<double> decays;
  int64_t aliased = 0;
  for (int64_t h = 0; h < H; ++h)
    for (int64_t m = 0; m < M; ++m) {
      const double dt = std::exp(log_dt.item(by_state ? h * M + m : h));
      const int64_t pole = h / (H / S) * M + m;
      decays.push_back(1 / (dt * std::exp(log_neg_re.item(pole))));
      const double cycles = dt * std::abs(im.item(pole)) / (2 * std::numbers::pi);
      t.fastest = std::max(t.fastest, cycles);
      aliased += cycles > 0.5;
    }
  t.poles = true;
  t.aliased = static_cast<double>(aliased) / static_cast<double>(decays.size());
  t.median = median_of(decays);
  t.slowest = decays.back();
}

}  // namespace

std::vector<Timescales> timescales(const std::vector<std::pair<std::string, Tensor>>& parameters) {
  const std::string key = ".log_dt";
  const auto beside = [&](const std::string& layer, const char* name) {
    for (const auto& [path, value] : parameters)
      if (path == layer + name) return value;
    return Tensor();
  };
  std::vector<Timescales> found;
  for (const auto& [path, log_dt] : parameters) {
    if (!path.ends_with(key) || log_dt.numel() == 0) continue;
    Timescales t;
    t.layer = path.substr(0, path.size() - key.size());
    std::vector<double> steps;
    for (int64_t i = 0; i < log_dt.numel(); ++i) steps.push_back(std::exp(log_dt.item(i)));
    t.dt_median = median_of(steps);
    t.dt_min = steps.front();
    t.dt_max = steps.back();
    const Tensor re = beside(t.layer, ".log_neg_re"), im = beside(t.layer, ".im");
    if (re.defined() && im.defined()) add_poles(log_dt, re, im, t);
    found.push_back(std::move(t));
  }
  return found;
}

}  // namespace kindred::ssm
