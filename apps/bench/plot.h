// Line plots on two logarithmic axes as SVG, without any library. Lines differ by colour (Okabe and
// Ito's, safe for colour-blind readers), by marker and by dashes.
#pragma once
#include <string>
#include <vector>

namespace kindred::apps::bench {

struct Series {
  std::string name;
  std::vector<double> x, y;  ///< above 0
};

struct Plot {
  std::string title, x_label, y_label;
  std::vector<Series> series;
  std::vector<double> slopes = {};  ///< grey lines y ~ x^slope for the eye
  double marked_x = 0;              ///< a vertical line, 0: none
  std::string mark = {};            ///< what it says
};

/// Ticks at powers of 2 on x and at 1, 2, 5 times powers of 10 on y. At least one point.
std::string to_svg(const Plot& plot);

}  // namespace kindred::apps::bench
