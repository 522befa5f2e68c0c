// Line plots on two logarithmic or two linear axes as SVG, without any library. Lines differ by
// colour (Okabe and Ito's, safe for colour-blind readers), by marker and by dashes.
#pragma once
#include <string>
#include <vector>

namespace kindred::apps {

struct Series {
  std::string name;
  std::vector<double> x, y;  ///< above 0 on logarithmic axes
  bool line = true, marks = true;
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  std::vector<double> slopes = {};  ///< grey lines y ~ x^slope for the eye
  double marked_x = 0;              ///< a vertical line, 0: none
  std::string mark = {};            ///< what it says
  bool linear = false;              ///< both axes; else both are logarithmic
};

/// Ticks at powers of 2 on x and at 1, 2, 5 times powers of 10 on y; on linear axes at multiples of
/// a round step. At least one point.
std::string to_svg(const Plot& plot);
/// Plots one below the other in one picture.
std::string to_svg(const std::vector<Plot>& plots);

}  // namespace kindred::apps
