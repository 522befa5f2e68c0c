// ProgressBar: how far a long job is, on stderr. On a terminal a bar in the manner of tqdm, redrawn
// in place:
//   train transformer:  42%|████▏     | 420/1000 [00:12<00:17, 33.4it/s, loss 1.470]
// elsewhere (files, pipes) one plain line every ten seconds and one at the end.
#pragma once
#include <cstdint>
#include <functional>
#include <ostream>
#include <string>

namespace kindred::harness {

enum class ProgressMode {
  automatic,  ///< bar if stderr is a terminal, else lines
  bar,
  lines,
  silent,  ///< --no-progress
};

/// Where a bar writes and what time it is; tests give their own.
struct ProgressOutput {
  std::ostream* stream = nullptr;        ///< nullptr: stderr
  std::function<double()> seconds = {};  ///< empty: the steady clock
  std::function<int()> columns = {};     ///< empty: asks the terminal at every redraw
  bool unicode = false;                  ///< block characters; taken from the locale for stderr
};

class ProgressBar {
 public:
  /// A job of `total` steps (0: unknown), `initial` of them done before (a resumed run).
  ProgressBar(std::string label, int64_t total, ProgressMode mode = ProgressMode::automatic,
              int64_t initial = 0, ProgressOutput output = {});
  /// A job that ends after `budget` seconds, `spent` of them used before.
  static ProgressBar for_seconds(std::string label, double budget,
                                 ProgressMode mode = ProgressMode::automatic, double spent = 0,
                                 ProgressOutput output = {});
  /// Writes a last newline if finish() was not called (an exception passes through).
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  /// For a job that learns late how much there is to do.
  void set_total(int64_t total) { total_ = total; }
  /// `done` steps in all; `text` stands at the end ("loss 1.470"). Cheap: draws at most ten times a
  /// second.
  void update(int64_t done, const std::string& text = "");
  /// Draws the final state and ends the line. Further calls do nothing.
  void finish();

 private:
  ProgressBar(std::string label, double budget, double spent, ProgressMode mode,
              ProgressOutput output);
  std::string line() const;
  void draw();
  double elapsed() const { return clock_() - start_; }

  std::string label_, text_;
  int64_t total_ = 0, initial_ = 0, done_ = 0;
  double budget_ = 0, spent_ = 0;
  ProgressMode mode_;
  std::ostream* stream_;
  std::function<double()> clock_;
  std::function<int()> columns_;
  bool unicode_;
  double start_ = 0, last_draw_ = -1e9;
  double rate_ = 0, rate_time_ = 0;  ///< smoothed steps a second, and when it was last updated
  int64_t rate_done_ = 0;
  bool finished_ = false, drawn_ = false;
};

}  // namespace kindred::harness
