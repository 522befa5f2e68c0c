#include "ssm/hippo_ranks.h"

#include <algorithm>

#include "autodiff/xt.h"

namespace kindred::ssm {

BlockRanks block_ranks(const DenseSystem& system) {
  const auto N = static_cast<std::size_t>(system.N);
  const auto rank = [&](std::size_t row, std::size_t rows, std::size_t column,
                        std::size_t columns) {
    xt::xtensor<double, 2> block({rows, columns});
    double largest = 0;
    for (std::size_t n = 0; n < rows; ++n)
      for (std::size_t k = 0; k < columns; ++k) {
        block(n, k) = system.A[(row + n) * N + column + k];
        largest = std::max(largest, std::abs(block(n, k)));
      }
    if (largest == 0) return int64_t{0};
    return int64_t{xt::linalg::matrix_rank(block, 1e-10 * largest)};
  };
  BlockRanks ranks;
  for (std::size_t split = 1; split < N; ++split) {
    ranks.lower = std::max(ranks.lower, rank(split, N - split, 0, split));
    ranks.upper = std::max(ranks.upper, rank(0, split, split, N - split));
  }
  return ranks;
}

}  // namespace kindred::ssm
