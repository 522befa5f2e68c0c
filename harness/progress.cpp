#include "harness/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <utility>

namespace kindred::harness {

namespace {
constexpr double kRedrawSeconds = 0.1, kLineSeconds = 10;
constexpr double kSmoothing = 0.3;  // weight of the newest rate, as in tqdm

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int terminal_columns() {
  winsize size{};
  return ::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = std::getenv(name);
    if (!value || !*value) continue;
    const std::string text = value;
    return text.find("UTF-8") != std::string::npos || text.find("utf8") != std::string::npos;
  }
  return false;
}

template <class... Args>
std::string format(const char* pattern, Args... args) {
  char buffer[96];
  std::snprintf(buffer, sizeof buffer, pattern, args...);
  return buffer;
}

/// "01:23" or "1:02:03"; "?" if unknown.
std::string clock_text(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e8) return "?";
  const auto s = static_cast<long long>(seconds + 0.5);
  const long long hours = s / 3600, minutes = s / 60 % 60;
  return hours > 0 ? format("%lld:%02lld:%02lld", hours, minutes, s % 60)
                   : format("%02lld:%02lld", minutes, s % 60);
}

std::string rate_text(double rate) {
  if (!(rate > 0)) return "?it/s";
  return rate >= 1 ? format(rate < 100 ? "%.1fit/s" : "%.0fit/s", rate)
                   : format("%.2fs/it", 1 / rate);
}

/// Columns on the screen: code points.
std::size_t width_of(const std::string& text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string cut(const std::string& text, std::size_t columns) {
  std::size_t at = 0;
  for (std::size_t seen = 0; at < text.size(); ++at)
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80 && seen++ == columns) break;
  return text.substr(0, at);
}

std::string bar_of(double fraction, int cells, bool unicode) {
  static const char* const kEighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  const int eighths = static_cast<int>(std::lround(std::clamp(fraction, 0.0, 1.0) * cells * 8));
  std::string bar;
  for (int i = 0; i < cells; ++i) {
    const int fill = std::clamp(eighths - 8 * i, 0, 8);
    bar += !unicode ? (fill >= 4 ? "#" : " ") : fill == 8 ? "█" : kEighths[fill];
  }
  return bar;
}
}  // namespace

ProgressBar::ProgressBar(std::string label, int64_t total, ProgressMode mode, int64_t initial,
                         ProgressOutput output)
    : label_(std::move(label)),
      total_(total),
      initial_(initial),
      done_(initial),
      mode_(mode),
      stream_(output.stream ? output.stream : &std::cerr),
      clock_(output.seconds ? output.seconds : steady_seconds),
      columns_(output.columns ? output.columns : terminal_columns),
      unicode_(output.stream ? output.unicode : locale_is_utf8()) {
  if (mode_ == ProgressMode::automatic)
    mode_ = !output.stream && ::isatty(STDERR_FILENO) ? ProgressMode::bar : ProgressMode::lines;
  start_ = rate_time_ = clock_();
  rate_done_ = initial;
  if (mode_ == ProgressMode::lines) last_draw_ = start_;
}

ProgressBar ProgressBar::for_seconds(std::string label, double budget, ProgressMode mode,
                                     double spent, ProgressOutput output) {
  return ProgressBar(std::move(label), budget, spent, mode, std::move(output));
}

ProgressBar::ProgressBar(std::string label, double budget, double spent, ProgressMode mode,
                         ProgressOutput output)
    : ProgressBar(std::move(label), 0, mode, 0, std::move(output)) {
  budget_ = budget;
  spent_ = spent;
}

ProgressBar::~ProgressBar() {
  if (!finished_ && drawn_ && mode_ == ProgressMode::bar) *stream_ << '\n' << std::flush;
}

void ProgressBar::update(int64_t done, const std::string& text) {
  if (finished_ || mode_ == ProgressMode::silent) return;
  done_ = done;
  text_ = text;
  const double now = clock_();
  if (now - last_draw_ < (mode_ == ProgressMode::bar ? kRedrawSeconds : kLineSeconds)) return;
  if (now > rate_time_ && done_ > rate_done_) {
    const double latest = static_cast<double>(done_ - rate_done_) / (now - rate_time_);
    rate_ = rate_ > 0 ? kSmoothing * latest + (1 - kSmoothing) * rate_ : latest;
    rate_time_ = now;
    rate_done_ = done_;
  }
  last_draw_ = now;
  draw();
}

void ProgressBar::finish() {
  if (finished_ || mode_ == ProgressMode::silent) return;
  const double seconds = elapsed();  // the final line shows the mean rate
  rate_ = seconds > 0 ? static_cast<double>(done_ - initial_) / seconds : 0;
  draw();
  if (mode_ == ProgressMode::bar) *stream_ << '\n' << std::flush;
  finished_ = true;
}

std::string ProgressBar::line() const {
  const double seconds = elapsed();
  double fraction = 0, left = -1;
  std::string count = std::to_string(done_);
  if (budget_ > 0) {
    fraction = std::min(1.0, (spent_ + seconds) / budget_);
    left = std::max(0.0, budget_ - spent_ - seconds);
    count += "it";
  } else if (total_ > 0) {
    fraction = static_cast<double>(done_) / static_cast<double>(total_);
    left = rate_ > 0 ? static_cast<double>(total_ - done_) / rate_ : -1;
    count += "/" + std::to_string(total_);
  } else {
    count += "it";
  }
  const std::string tail = " " + count + " [" + clock_text(spent_ + seconds) + "<" +
                           clock_text(left) + ", " + rate_text(rate_) +
                           (text_.empty() ? "" : ", " + text_) + "]";
  const std::string head =
      label_ + ": " + (budget_ > 0 || total_ > 0 ? format("%3.0f%%", 100 * fraction) : "");
  if (mode_ == ProgressMode::lines) return head + tail;
  const int columns = columns_();
  const int room = columns - 1 - static_cast<int>(width_of(head) + width_of(tail)) - 2;
  std::string text = head;
  if (room >= 4 && (budget_ > 0 || total_ > 0))
    text += "|" + bar_of(fraction, std::min(room, 40), unicode_) + "|";
  return cut(text + tail, static_cast<std::size_t>(std::max(columns - 1, 1)));
}

void ProgressBar::draw() {
  drawn_ = true;
  if (mode_ == ProgressMode::bar)
    *stream_ << '\r' << line() << "\x1b[K" << std::flush;  // clears what a longer line left
  else
    *stream_ << line() << '\n' << std::flush;
}

}  // namespace kindred::harness
