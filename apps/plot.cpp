#include "apps/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

namespace kindred::apps {

namespace {

constexpr double kWidth = 760, kHeight = 460;
constexpr double kLeft = 80, kRight = 20, kTop = 44, kBottom = 56;
constexpr double kLegendLine = 20;
const char* const kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"};
const char* const kDashes[] = {"", "8 4", "2 4", "10 4 2 4", "4 4", "12 6"};
constexpr std::size_t kStyles = 6;

std::string escaped(const std::string& text) {
  std::string safe;
  for (const char c : text) {
    if (c == '<')
      safe += "&lt;";
    else if (c == '>')
      safe += "&gt;";
    else if (c == '&')
      safe += "&amp;";
    else
      safe += c;
  }
  return safe;
}

std::string written(double value) {
  char text[32];
  if (value >= 1e4 && std::fmod(value, 1024) == 0)
    std::snprintf(text, sizeof text, "%.0fk", value / 1024);
  else
    std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

/// One axis: values to pixels.
struct Scale {
  double low, high, from, to;
  bool linear = false;
  double operator()(double v) const {
    const double share =
        linear ? (v - low) / (high - low) : std::log(v / low) / std::log(high / low);
    return from + (to - from) * share;
  }
};

/// Multiples of 1, 2 or 5 times a power of 10 within the axis, about six of them.
std::vector<double> round_ticks(const Scale& axis) {
  const double rough = (axis.high - axis.low) / 6,
               power = std::pow(10, std::floor(std::log10(rough)));
  const double step = power * (rough > 5 * power   ? 10
                               : rough > 2 * power ? 5
                               : rough > power     ? 2
                                                   : 1);
  std::vector<double> ticks;
  for (double k = std::ceil(axis.low / step); k * step <= axis.high; ++k)
    ticks.push_back(k * step + 0.0);  // not -0
  return ticks;
}

class Drawing {
 public:
  explicit Drawing(const Plot& plot) : plot_(plot) {
    out_.precision(1);
    out_ << std::fixed;
    double x0 = INFINITY, x1 = -INFINITY, y0 = INFINITY, y1 = -INFINITY;
    for (const Series& s : plot.series)
      for (std::size_t i = 0; i < s.x.size(); ++i) {
        x0 = std::min(x0, s.x[i]), x1 = std::max(x1, s.x[i]);
        y0 = std::min(y0, s.y[i]), y1 = std::max(y1, s.y[i]);
      }
    top_ = y1;
    // Room above the lines for the legend.
    const double rows = static_cast<double>(plot.series.size());
    const double share = 1 - (rows * kLegendLine + 16) / (kHeight - kTop - kBottom);
    if (plot.linear) {
      const double wide = x1 > x0 ? x1 - x0 : 1, high = y1 > y0 ? y1 - y0 : 1;
      x_ = {x0 - 0.02 * wide, x1 + 0.02 * wide, kLeft, kWidth - kRight, true};
      y_ = {y0 - 0.05 * high, y0 - 0.05 * high + 1.1 * high / share, kHeight - kBottom, kTop, true};
      return;
    }
    x_ = {x0 / 1.15, x1 * 1.15, kLeft, kWidth - kRight};
    const double span = std::max(2.0, y1 / y0);
    y_ = {y0 / 1.3, y0 / 1.3 * std::pow(1.7 * span, 1 / share), kHeight - kBottom, kTop};
  }

  /// What stands inside the <svg> of this plot.
  std::string run() {
    out_ << "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
    text(kLeft, 26, plot_.title, "font-size=\"16\" font-weight=\"bold\"");
    axes();
    guides();
    mark();
    for (std::size_t i = 0; i < plot_.series.size(); ++i) line(i);
    return out_.str();
  }

 private:
  void text(double x, double y, const std::string& words, const std::string& style) {
    out_ << "<text x=\"" << x << "\" y=\"" << y << "\" " << style << '>' << escaped(words)
         << "</text>\n";
  }
  void segment(double x0, double y0, double x1, double y1, const std::string& style) {
    out_ << "<path d=\"M" << x0 << ' ' << y0 << 'L' << x1 << ' ' << y1 << "\" fill=\"none\" "
         << style << "/>\n";
  }

  void axes() {
    const std::string grid = "stroke=\"#ddd\"";
    const auto x_tick = [&](double v) {
      segment(x_(v), y_.from, x_(v), y_.to, grid);
      text(x_(v), y_.from + 18, written(v), "text-anchor=\"middle\"");
    };
    const auto y_tick = [&](double v) {
      segment(x_.from, y_(v), x_.to, y_(v), grid);
      text(x_.from - 8, y_(v) + 4, written(v), "text-anchor=\"end\"");
    };
    if (plot_.linear) {
      for (const double v : round_ticks(x_)) x_tick(v);
      for (const double v : round_ticks(y_)) y_tick(v);
    } else {
      log_ticks(x_tick, y_tick);
    }
    frame();
  }

  template <class X, class Y>
  void log_ticks(const X& x_tick, const Y& y_tick) {
    for (double v = std::exp2(std::ceil(std::log2(x_.low))); v <= x_.high; v *= 2) x_tick(v);
    for (double decade = std::pow(10, std::floor(std::log10(y_.low))); decade <= y_.high;
         decade *= 10)
      for (const double step : {1.0, 2.0, 5.0}) {
        const double v = step * decade;
        if (v >= y_.low && v <= y_.high) y_tick(v);
      }
  }

  void frame() {
    out_ << "<rect x=\"" << kLeft << "\" y=\"" << kTop << "\" width=\"" << kWidth - kLeft - kRight
         << "\" height=\"" << kHeight - kTop - kBottom << "\" fill=\"none\" stroke=\"#555\"/>\n";
    text((x_.from + x_.to) / 2, kHeight - 14, plot_.x_label, "text-anchor=\"middle\"");
    const double middle = (y_.from + y_.to) / 2;
    std::ostringstream turned;
    turned << "text-anchor=\"middle\" transform=\"rotate(-90 22 " << middle << ")\"";
    text(22, middle, plot_.y_label, turned.str());
  }

  /// y ~ x^slope through the lower left corner of the points, to a little above the highest.
  void guides() {
    const double x0 = x_.low * 1.15, y0 = y_.low * 1.3;
    for (const double slope : plot_.slopes) {
      const double end = std::min(x_.high / 1.05, x0 * std::pow(1.3 * top_ / y0, 1 / slope));
      const double top = y0 * std::pow(end / x0, slope);
      segment(x_(x0), y_(y0), x_(end), y_(top), "stroke=\"#999\"");
      text(x_(end) - 6, y_(top) - 5, "slope " + written(slope),
           "text-anchor=\"end\" fill=\"#666\" font-size=\"12\"");
    }
  }

  void mark() {
    if (plot_.marked_x <= 0) return;
    const double x = x_(plot_.marked_x);
    segment(x, y_.from, x, y_.to, "stroke=\"#444\" stroke-dasharray=\"3 3\"");
    text(x + 6, y_.from - 10, plot_.mark, "font-size=\"12\"");
  }

  void marker(std::size_t style, double x, double y) {
    const std::string colour = kColours[style % kStyles];
    if (style % 3 == 0)
      out_ << "<circle cx=\"" << x << "\" cy=\"" << y << "\" r=\"4\" fill=\"" << colour << "\"/>\n";
    else if (style % 3 == 1)
      out_ << "<rect x=\"" << x - 4 << "\" y=\"" << y - 4 << "\" width=\"8\" height=\"8\" fill=\""
           << colour << "\"/>\n";
    else
      out_ << "<path d=\"M" << x << ' ' << y - 5 << "l5 9h-10z\" fill=\"" << colour << "\"/>\n";
  }

  void line(std::size_t i) {
    const Series& s = plot_.series[i];
    const std::string style = std::string("stroke-width=\"2\" stroke=\"") + kColours[i % kStyles] +
                              "\" stroke-dasharray=\"" + kDashes[i % kStyles] + '"';
    if (s.line) {
      out_ << "<path fill=\"none\" " << style << " d=\"";
      for (std::size_t k = 0; k < s.x.size(); ++k)
        out_ << (k ? 'L' : 'M') << x_(s.x[k]) << ' ' << y_(s.y[k]);
      out_ << "\"/>\n";
    }
    if (s.marks)
      for (std::size_t k = 0; k < s.x.size(); ++k) marker(i, x_(s.x[k]), y_(s.y[k]));
    const double y = kTop + 18 + kLegendLine * static_cast<double>(i);
    if (s.line) segment(kLeft + 12, y - 4, kLeft + 56, y - 4, style);
    if (s.marks) marker(i, kLeft + 34, y - 4);
    text(kLeft + 64, y, s.name, "");
  }

  const Plot& plot_;
  std::ostringstream out_;
  Scale x_{}, y_{};
  double top_ = 0;  ///< the highest point
};

}  // namespace

std::string to_svg(const Plot& plot) { return to_svg(std::vector<Plot>{plot}); }

std::string to_svg(const std::vector<Plot>& plots) {
  const double height = kHeight * static_cast<double>(plots.size());
  std::ostringstream out;
  out.precision(1);
  out << std::fixed << "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " << kWidth << ' '
      << height << "\" width=\"" << kWidth << "\" height=\"" << height
      << "\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n";
  for (std::size_t i = 0; i < plots.size(); ++i) {
    if (i > 0)
      out << "<svg y=\"" << kHeight * static_cast<double>(i) << "\" height=\"" << kHeight
          << "\">\n";
    out << Drawing(plots[i]).run();
    if (i > 0) out << "</svg>\n";
  }
  out << "</svg>\n";
  return out.str();
}

}  // namespace kindred::apps
