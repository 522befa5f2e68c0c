#include "tests/support/tensors.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace kindred::test {

Tensor leaf(std::initializer_list<double> values) {
  return Tensor::from(values).set_requires_grad();
}

double largest(const Tensor& x) {
  double m = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    if (std::isnan(x.item(i))) return x.item(i);
    m = std::max(m, std::abs(x.item(i)));
  }
  return m;
}

double difference(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape())) return std::numeric_limits<double>::infinity();
  double m = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.item(i), y = b.item(i);
    if (x == y) continue;
    if (!std::isfinite(x) || !std::isfinite(y)) return std::numeric_limits<double>::infinity();
    m = std::max(m, std::abs(x - y));
  }
  return m;
}

double relative_difference(const Tensor& a, const Tensor& b) {
  double size = 0;  // an infinity that both have is no scale
  for (int64_t i = 0; i < b.numel(); ++i)
    if (std::isfinite(b.item(i))) size = std::max(size, std::abs(b.item(i)));
  return difference(a, b) / (1 + size);
}

bool same_bits(const Tensor& a, const Tensor& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         (a.numel() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

}  // namespace kindred::test
