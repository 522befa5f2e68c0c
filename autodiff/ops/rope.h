// Rotary position embedding (Su et al. 2021): pair i of a head's dimensions turns by the angle
// position * base^(-2i/R), R = the number of rotated dimensions.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// Which two dimensions form pair i: (i, i + R/2) as in GPT-NeoX and LLaMA's published code, or
/// (2i, 2i + 1) as in the paper.
enum class RopeLayout { half, interleaved };

/// x [B, L, H, D] rotated; token l is at position position_offset + l. Only the first
/// R = 2 round(fraction D / 2) dimensions of a head turn. `heads` >= 0: only the first `heads`
/// heads turn and the others are copied, so a packed [B, L, (H + 2 Hk) D] tensor, reshaped to [B,
/// L, H + 2 Hk, D], needs one call with heads = H + Hk (queries and keys, not values).
Tensor rope(const Tensor& x, int64_t position_offset = 0, double base = 10000,
            RopeLayout layout = RopeLayout::half, double fraction = 1, int64_t heads = -1);

}  // namespace kindred
