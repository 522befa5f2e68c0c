// What makes O(N) products possible: the off-diagonal blocks of a HiPPO matrix have tiny rank.
#pragma once
#include "ssm/hippo.h"

namespace kindred::ssm {

/// Largest numerical rank of a block below, above the diagonal, over every split of the indices
/// into a first and a second part.
struct BlockRanks {
  int64_t lower = 0, upper = 0;
};
/// By singular values: O(N^4). legs 1/0, lagt 1/0, legt 1/1, fout 2/2.
BlockRanks block_ranks(const DenseSystem& system);

}  // namespace kindred::ssm
