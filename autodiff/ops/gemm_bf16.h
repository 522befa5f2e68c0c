// Matrix products with operands rounded to bfloat16 and sums in f32, by the processor's VDPBF16PS
// (AVX512_BF16): twice the rate of f32. Rounding happens while an operand is packed, so that no
// bf16 copy in the operand's own layout is ever written.
#pragma once
#include "autodiff/ops/gemm.h"

namespace kindred {

/// Was this program compiled for such a processor?
bool gemm_bf16_available();

/// c = op(a) op(b) [+ c] for one pair of matrices (g.batch == 1), all f32 in memory. Operands are
/// rounded to nearest even; infinities and NaN stay what they are, denormals count as zero.
void gemm_bf16(const Gemm& g);

}  // namespace kindred
