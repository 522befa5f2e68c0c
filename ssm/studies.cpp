#include "ssm/studies.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <complex>
#include <numbers>

#include "autodiff/check.h"
#include "autodiff/graph.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/parallel.h"
#include "autodiff/rng.h"
#include "ssm/hippo_basis.h"
#include "ssm/hippo_ranks.h"
#include "ssm/hippo_scan.h"

namespace kindred::ssm {

namespace {

constexpr int64_t kPiece = 4096;  // points of a basis table at a time

Tensor noise(const SignalOptions& o, int64_t length) {
  return band_limited_noise(o.signals, length, o.duration, o.cut, o.rms, o.seed);
}

/// Sum over signals and points of (a - b)^2.
double squares(const Tensor& a, const Tensor& b) {
  double sum = 0;
  const double *x = a.data<double>(), *y = b.data<double>();
  for (int64_t i = 0; i < a.numel(); ++i) sum += (x[i] - y[i]) * (x[i] - y[i]);
  return sum;
}

double variance_of(const Tensor& u) {
  double sum = 0, square = 0;
  const auto n = static_cast<double>(u.numel());
  for (const double v : u.span<double>()) {
    sum += v;
    square += v * v;
  }
  return square / n - sum / n * (sum / n);
}

/// Calls f(first, count) over [0, n) in pieces.
template <class F>
void pieces(int64_t n, F&& f) {
  for (int64_t i = 0; i < n; i += kPiece) f(i, std::min(kPiece, n - i));
}

}  // namespace

Tensor band_limited_noise(int64_t signals, int64_t length, double duration, double cut, double rms,
                          int64_t seed) {
  check(signals >= 1 && length >= 1 && duration > 0 && rms >= 0, "study", signals, " signals of ",
        length, " samples in ", duration, " s, rms ", rms);
  const auto harmonics = static_cast<int64_t>(std::floor(cut * duration * (1 + 1e-12)));
  check(harmonics >= 1, "study.cut", cut, " Hz is below the lowest frequency 1 / ", duration, " s");
  check(2 * harmonics < length, "study.length", length, " samples are too few for ", cut, " Hz in ",
        duration, " s");
  Tensor u = Tensor::zeros({signals, length}, DType::f64);
  const double scale = rms / std::sqrt(static_cast<double>(harmonics));
  parallel_for(signals, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const Rng rng = Rng(static_cast<uint64_t>(seed)).split(static_cast<uint64_t>(s));
      double* out = u.mutable_data<double>() + s * length;
      for (int64_t k = 1; k <= harmonics; ++k) {
        const std::complex<double> amplitude(scale * rng.normal(2 * k),
                                             scale * rng.normal(2 * k + 1));
        const double turn =
            2 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(length);
        const std::complex<double> step = std::polar(1., turn);
        std::complex<double> wave;
        for (int64_t t = 0; t < length; ++t) {  // products drift, so each 64th is made anew
          wave =
              t % 64 == 0 ? amplitude * std::polar(1., turn * static_cast<double>(t)) : wave * step;
          out[t] += wave.real();
        }
      }
    }
  });
  return u;
}

StudyValues function_approximation(const FunctionApproximationOptions& o) {
  const NoGrad off;
  const Measure measure = parse_measure(o.measure, "study.measure");
  const Tensor u = noise(o.signal, o.signal.length);
  const int64_t S = o.signal.signals, L = o.signal.length, N = o.state;
  const double rate = static_cast<double>(L) / o.signal.duration;  // samples a second
  const bool scaled = measure == Measure::legs;
  check(scaled || (o.window > 0 && o.window <= o.signal.duration), "study.window", o.window,
        " s of a signal of ", o.signal.duration, " s");
  // Time in units of the window's length theta: 2, and N/2 for lagt.
  const double theta = measure == Measure::lagt ? static_cast<double>(N) / 2 : 2;
  const double dt = theta / (o.window * rate);
  HippoScan scan(HippoOperator(measure, N, theta),
                 {S, dt, parse_step_rule(o.disc, "study.disc"), true});
  scan.advance(u);

  const int64_t judged =
      scaled ? L : std::min<int64_t>(L, std::llround(std::floor(o.window * rate + 1e-9)));
  const bool sees_all = scaled || measure == Measure::lagt;
  const std::vector<double> ago = scan.sample_times(L);
  const double now = static_cast<double>(L) - 0.5;
  const auto basis = [&](int64_t first, int64_t count) {
    std::vector<double> at(ago.begin() + first, ago.begin() + first + count);
    if (!scaled) return hippo_basis(measure, N, theta, at);
    for (double& x : at) x = 1 - x / now;
    return legendre_basis(N, at);
  };
  const auto samples = [&](int64_t first, int64_t count) { return slice(u, 1, first, count); };

  OptimalProjection projection(S, N);
  const int64_t from = sees_all ? 0 : L - judged;
  pieces(L - from, [&](int64_t i, int64_t count) {
    projection.add(basis(from + i, count), samples(from + i, count));
  });
  const Tensor state = scan.state(), best = projection.coefficients();
  double error = 0, optimal = 0, interior = 0;
  const int64_t edge = judged / 10;
  const auto judge = [&](int64_t first, int64_t last, bool inside) {
    pieces(last - first, [&](int64_t i, int64_t count) {
      const Tensor table = basis(first + i, count), truth = samples(first + i, count);
      const double e = squares(matmul(state, table, {.transpose_b = true}), truth);
      error += e;
      if (inside) interior += e;
      optimal += squares(matmul(best, table, {.transpose_b = true}), truth);
    });
  };
  judge(L - judged, L - judged + edge, false);
  judge(L - judged + edge, L - edge, true);
  judge(L - edge, L, false);

  const auto points = static_cast<double>(S * judged);
  const double variance = variance_of(samples(L - judged, judged));
  return {{"mse", error / points},
          {"interior_mse", interior / static_cast<double>(S * (judged - 2 * edge))},
          {"optimal_mse", optimal / points},
          {"ratio", error / optimal},
          {"variance", variance},
          {"relative", error / points / variance}};
}

StudyValues timescale(const TimescaleOptions& o) {
  const int64_t S = o.signal.signals;
  std::vector<Tensor> states;
  for (const int64_t factor : {1, 2, 4}) {
    HippoScan scan(HippoOperator(Measure::legs, o.state), {S});
    scan.advance(noise(o.signal, factor * o.signal.length));
    states.push_back(scan.state());
  }
  const auto distance = [&](std::size_t coarse) {
    return std::sqrt(squares(states[coarse], states[coarse + 1]) / static_cast<double>(S));
  };
  return {{"difference", distance(0)},
          {"difference_finer", distance(1)},
          {"ratio", distance(0) / distance(1)}};
}

StudyValues delay_line(const DelayLineOptions& o) {
  const NoGrad off;
  const Measure measure = parse_measure(o.measure, "study.measure");
  check(measure == Measure::legt || measure == Measure::fout, "study.measure", o.measure,
        " has no window; choose legt or fout");
  check(o.window >= 2 && o.lag_from >= 0 && o.lag_from < o.lag_to && o.lag_to < o.window,
        "study.lag_to", "lags ", o.lag_from, " to ", o.lag_to, " in a window of ", o.window,
        " samples");
  constexpr int64_t kWindows = 4;  // two fill the state (the start is a jump), two are judged
  const int64_t S = o.signals, W = o.window, L = kWindows * W, skip = 2 * W, N = o.state;
  const Tensor u = band_limited_noise(S, L, static_cast<double>(kWindows), o.cycles, o.rms, o.seed);
  const double dt = 2 / static_cast<double>(W);
  HippoScan scan(HippoOperator(measure, N), {S, dt, parse_step_rule(o.disc, "study.disc"), false});
  scan.advance(slice(u, 1, 0, skip));
  const Tensor states = scan.trajectory(slice(u, 1, skip, L - skip), 1);  // [steps, S, N]

  constexpr int kLags = 11;
  std::vector<double> relative;
  for (int i = 0; i < kLags; ++i) {
    const int64_t lag = o.lag_from + (o.lag_to - o.lag_from) * i / (kLags - 1);
    const double ago = (static_cast<double>(lag) + (o.half_sample ? 0.5 : 0)) * dt;
    const Tensor C = hippo_basis(measure, N, 2, std::vector<double>{ago});  // [1, N]
    const Tensor y = matmul(states, C, {.transpose_b = true});
    double error = 0, power = 0;
    for (int64_t t = 0; t < L - skip; ++t)
      for (int64_t s = 0; s < S; ++s) {
        const double truth = u.item(s * L + skip + t - lag), e = y.item(t * S + s) - truth;
        error += e * e;
        power += truth * truth;
      }
    relative.push_back(std::sqrt(error / power));
  }
  return {{"relative_rms_first", relative.front()},
          {"relative_rms_middle", relative[kLags / 2]},
          {"relative_rms_last", relative.back()},
          {"relative_rms_worst", *std::max_element(relative.begin(), relative.end())}};
}

StudyValues scan_speed(const ScanSpeedOptions& o) {
  check(o.repeats >= 1 && o.length >= 1, "study", o.repeats, " repeats of ", o.length, " samples");
  const Measure measure = parse_measure(o.measure, "study.measure");
  const StepRule rule = parse_step_rule(o.disc, "study.disc");
  check(!rule.zoh, "study.disc", "zoh takes N^2 work a sample");
  const Tensor u = Rng(1).normal({o.signals, o.length}, DType::f64);
  const struct OneThread {
    const int before = threads();
    OneThread() { set_threads(1); }
    ~OneThread() { set_threads(before); }
  } one_thread;
  const auto seconds = [&](int64_t N) {
    double best = 0;
    for (int64_t i = 0; i < o.repeats; ++i) {
      HippoScan scan(HippoOperator(measure, N), {o.signals, 1e-3, rule, true});
      const auto start = std::chrono::steady_clock::now();
      scan.advance(u);
      const double time =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      best = i == 0 ? time : std::min(best, time);
    }
    return best;
  };
  const double once = seconds(o.state), twice = seconds(2 * o.state);
  return {{"elements_per_second", static_cast<double>(o.signals * o.length) / once},
          {"seconds", once},
          {"doubling", twice / once}};
}

StudyValues block_rank_table(const BlockRankOptions& o) {
  StudyValues values;
  for (const Measure measure : {Measure::legs, Measure::legt, Measure::lagt, Measure::fout}) {
    const BlockRanks ranks = block_ranks(hippo_matrix(measure, o.state));
    values.emplace_back(std::string(name(measure)) + "_lower", static_cast<double>(ranks.lower));
    values.emplace_back(std::string(name(measure)) + "_upper", static_cast<double>(ranks.upper));
  }
  return values;
}

}  // namespace kindred::ssm
