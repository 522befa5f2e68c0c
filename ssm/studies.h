// Studies of the memory that HiPPO gives, without any training: what a state of N numbers knows of
// a signal (Gu et al. 2020, section 4). Each is a function from described options to named values.
// Signals are band-limited noise: harmonics of 1/duration up to a cut, normal amplitudes.
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::ssm {

using StudyValues = std::vector<std::pair<std::string, double>>;

/// [signals, length] f64, sample i at i duration / length seconds; harmonics 1/duration ... cut
/// (Hz) of equal power, `rms` in the mean over signals. Usage error for a cut below 1/duration.
Tensor band_limited_noise(int64_t signals, int64_t length, double duration, double cut, double rms,
                          int64_t seed);

struct SignalOptions {
  int64_t signals = 64, length = 2000, seed = 1;
  double duration = 3, cut = 3, rms = 0.5;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("signals", self.signals, "number of signals, over which errors are averaged");
    visit("length", self.length, "samples of a signal");
    visit("seed", self.seed, "of the signals");
    visit("duration", self.duration, "of a signal, seconds");
    visit("cut", self.cut, "highest frequency, Hz");
    visit("rms", self.rms, "root mean square of the signals, in the mean");
  }
};

struct FunctionApproximationOptions {
  std::string measure = "legs", disc = "bilinear";
  int64_t state = 64;
  double window = 2;
  SignalOptions signal;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("measure", self.measure, "legs (online: all of the past), legt, lagt or fout");
    visit("disc", self.disc, "bilinear, forward, backward, zoh or gbt:ALPHA");
    visit("state", self.state, "coefficients N");
    visit("window", self.window,
          "seconds before the end that are judged; legs: everything, whatever is set here. It is "
          "the window of legt and fout; lagt takes N/2 of its units for it");
    SignalOptions::describe(self.signal, visit);
  }
};
/// A signal is read once, sample by sample, and reconstructed from the last state. Values: mse;
/// interior_mse (without a tenth of the window at each end); optimal_mse, that of the best N
/// coefficients; ratio of the two; variance of the signals; relative, mse / variance.
StudyValues function_approximation(const FunctionApproximationOptions& options);

struct TimescaleOptions {
  int64_t state = 64;
  SignalOptions signal;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("state", self.state, "coefficients N");
    SignalOptions::describe(self.signal, visit);
  }
};
/// The same signal read at L, 2L and 4L samples by the scaled LegS, which knows no time step: the
/// states converge at first order. Values: difference (root mean square distance of the states at L
/// and 2L), difference_finer (2L and 4L), ratio.
StudyValues timescale(const TimescaleOptions& options);

struct DelayLineOptions {
  std::string measure = "legt", disc = "bilinear";
  int64_t state = 64, window = 2000, lag_from = 200, lag_to = 1999, signals = 4, seed = 1;
  double cycles = 6, rms = 0.5;
  bool half_sample = true;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("measure", self.measure, "legt or fout");
    visit("disc", self.disc, "bilinear, forward, backward, zoh or gbt:ALPHA");
    visit("state", self.state, "coefficients N");
    visit("window", self.window, "samples in the window");
    visit("lag_from", self.lag_from, "smallest delay in samples");
    visit("lag_to", self.lag_to, "largest delay in samples, below the window");
    visit("signals", self.signals, "number of signals");
    visit("seed", self.seed, "of the signals");
    visit("cycles", self.cycles, "of the fastest component in a window");
    visit("rms", self.rms, "root mean square of the signals, in the mean");
    visit("half_sample", self.half_sample,
          "read the delay lag + 1/2 samples ago, where a sample held for one step has its middle");
  }
};
/// A delay line without training: the output C = phi((lag + 1/2) dt) of a window's state. Root mean
/// square error over that of the signal, after two windows. Values: relative_rms_first,
/// _middle, _last (lags), relative_rms_worst (over eleven lags).
StudyValues delay_line(const DelayLineOptions& options);

struct ScanSpeedOptions {
  std::string measure = "legs", disc = "bilinear";
  int64_t state = 256, length = 1000000, signals = 1, repeats = 3;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("measure", self.measure, "legs (online), legt, lagt or fout");
    visit("disc", self.disc, "bilinear, forward, backward or gbt:ALPHA");
    visit("state", self.state, "coefficients N");
    visit("length", self.length, "samples");
    visit("signals", self.signals, "signals read at the same time");
    visit("repeats", self.repeats, "times measured; the fastest counts");
  }
};
/// One thread. Values: elements_per_second, seconds, doubling (time at 2N over time at N).
StudyValues scan_speed(const ScanSpeedOptions& options);

struct BlockRankOptions {
  int64_t state = 32;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("state", self.state, "N, even");
  }
};
/// Ranks of the off-diagonal blocks. Values: legs_lower, legs_upper, legt_lower, ...
StudyValues block_rank_table(const BlockRankOptions& options);

}  // namespace kindred::ssm
