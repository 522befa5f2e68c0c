#include "harness/sample_copies.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autodiff/parallel.h"
#include "harness/sample_pairs.h"

namespace kindred::harness {

namespace {
constexpr int64_t kBlock = 2048;     // training elements in one product
constexpr double kRounding = 1e-12;  // of <a,a> + <b,b>
constexpr double kNearest = 0.01;    // of held-out elements: what is nearer counts as a copy

double squared_norm(const double* row, int64_t D) {
  double sum = 0;
  for (int64_t d = 0; d < D; ++d) sum += row[d] * row[d];
  return sum;
}
std::vector<double> squared_norms(const Tensor& rows) {
  std::vector<double> norms(static_cast<std::size_t>(rows.dim(0)));
  const int64_t D = rows.dim(1);
  for (int64_t i = 0; i < rows.dim(0); ++i)
    norms[static_cast<std::size_t>(i)] = squared_norm(rows.data<double>() + i * D, D);
  return norms;
}

/// The value that a share of the others lies below.
double quantile(std::vector<double> values, double share) {
  const auto at =
      values.begin() + static_cast<std::ptrdiff_t>(share * static_cast<double>(values.size()));
  std::nth_element(values.begin(), at, values.end());
  return *at;
}
}  // namespace

std::vector<double> nearest_distances(
    const Tensor& rows, int64_t count,
    const std::function<Tensor(int64_t first, int64_t k)>& others) {
  check(count > 0, "memorisation", "no training elements to compare with");
  const Tensor a = sample_rows(rows, "samples");
  const int64_t n = a.dim(0), D = a.dim(1);
  const std::vector<double> own = squared_norms(a);
  std::vector<double> nearest(own.size(), std::numeric_limits<double>::infinity());
  Tensor products = Tensor::empty({n, std::min(kBlock, count)}, DType::f64);
  for (int64_t first = 0; first < count; first += kBlock) {
    const int64_t k = std::min(kBlock, count - first);
    const Tensor b = sample_rows(others(first, k), "training elements");
    check(b.dim(0) == k && b.dim(1) == D, "memorisation", "training elements ", b.shape(),
          " for samples of ", D, " numbers");
    const std::vector<double> theirs = squared_norms(b);
    row_products(a.data<double>(), n, b.data<double>(), k, D, products.mutable_data<double>());
    const double* p = products.data<double>();
    parallel_for(n, 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const double mine = own[static_cast<std::size_t>(i)];
        double least = nearest[static_cast<std::size_t>(i)];
        for (int64_t j = 0; j < k; ++j) {
          const double norms = mine + theirs[static_cast<std::size_t>(j)];
          const double squared = norms - 2 * p[i * k + j];
          least = std::min(least, squared <= kRounding * norms ? 0 : squared);
        }
        nearest[static_cast<std::size_t>(i)] = least;
      }
    });
  }
  for (double& d : nearest) d = std::sqrt(d);
  return nearest;
}

Memorisation memorisation(const std::vector<double>& samples, const std::vector<double>& held_out) {
  check(!samples.empty() && !held_out.empty(), "memorisation", samples.size(), " samples and ",
        held_out.size(), " held-out elements");
  const double limit = quantile(held_out, kNearest);
  const auto nearer =
      std::count_if(samples.begin(), samples.end(), [&](double d) { return d < limit; });
  return {quantile(samples, 0.5),
          static_cast<double>(nearer) / static_cast<double>(samples.size())};
}

}  // namespace kindred::harness
