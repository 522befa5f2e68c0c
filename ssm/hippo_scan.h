// HiPPO online: reads signals sample by sample and keeps their past in N coefficients each.
//   time-invariant  c' = A c + B u with steps dt: legt, lagt, fout; legs with scaled = false
//   scaled legs     c' = (A c + B u) / t: the first sample sets c = u e_0, sample k steps by
//                   dt/t = 1/k
// Sample k of a time-invariant scan is held during [k dt, (k+1) dt), so it is (i + 1/2) dt ago when
// i more have come. Sample k >= 1 of the scaled scan stands for [k - 1/2, k + 1/2], sample 0 for
// the first half (the step 1/k is the midpoint of 1/t there). States are f64 [signals, N].
#pragma once
#include <vector>

#include "autodiff/tensor.h"
#include "ssm/discretise.h"
#include "ssm/hippo_operator.h"
#include "ssm/hippo_wave.h"

namespace kindred::ssm {

struct HippoScanOptions {
  int64_t signals = 1;
  double dt = 1;  ///< of the time-invariant systems
  /// gbt costs O(N) a sample; zoh O(N^2). Forward Euler (alpha 0) is unstable for large dt A, in
  /// the scaled scan while t < N/2.
  StepRule rule = {};
  bool scaled = true;  ///< legs only
};

class HippoScan {
 public:
  HippoScan(const HippoOperator& op, const HippoScanOptions& options);

  /// u [signals, n], any floating type: n further samples. Splitting a signal changes no bit of
  /// gbt.
  void advance(const Tensor& u);
  /// The same with irregular times [n], shared by the signals and strictly increasing: sample k
  /// steps by dt_k = times[k] - the time before it (scaled: by dt_k / times[k]; the first time may
  /// be 0). A scaled scan takes one of the two forms from its first sample on.
  void advance(const Tensor& u, std::span<const double> times);
  /// advance(u), returning the states after every `every` samples, [n / every, signals, N].
  Tensor trajectory(const Tensor& u, int64_t every);

  /// [signals, N], a copy.
  Tensor state() const;
  /// Samples read, and the time of the last one (regular scaled scans: its number).
  int64_t samples() const { return samples_; }
  double time() const { return time_; }

  /// The past as the state remembers it, [signals, points]: values `ago` before now, in the unit of
  /// dt, or of samples for the scaled scan, where now is half a sample after the last one.
  Tensor reconstruct(std::span<const double> ago) const;
  /// The times ago of the last n samples of a regular scan, oldest first.
  std::vector<double> sample_times(int64_t n) const;

 private:
  /// What the scan was given: the scaled one measures its past in samples or in times, not in both.
  enum class Kind { regular, irregular };
  /// Usage error for the other kind.
  void check_kind(Kind kind) const;
  bool scaled() const { return options_.scaled && op_.measure() == Measure::legs; }
  void run(const Tensor& u, std::span<const double> steps);
  void run_lanes(const double* u, int64_t n, std::span<const double> steps);
  void run_hold(const double* u, int64_t n, std::span<const double> steps);

  HippoOperator op_;
  HippoScanOptions options_;
  HippoWave wave_;
  std::vector<double> state_;  ///< [signals, N]
  int64_t samples_ = 0;
  Kind kind_ = Kind::regular;
  double time_ = 0, last_width_ = 1;
};

}  // namespace kindred::ssm
