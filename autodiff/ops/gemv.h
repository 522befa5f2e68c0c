// Products of a few rows with the rows of a matrix: y[m, n] = x[m, k] W[n, k]^T, m at most 4. That
// is a linear map of the newest symbol in generation. Every weight is used once or a few times, so
// the time is that of reading W; a general product would first pack it.
#pragma once
#include "autodiff/ops/gemm.h"

namespace kindred {

/// Whether gemv() computes this product.
inline bool is_gemv(const Gemm& g) {
  return g.m <= 4 && g.batch == 1 && g.transpose_b && !g.transpose_a && g.m * g.n * g.k > 0;
}
/// f32 or f64. The same bits for any number of threads, and for a row alone or among others.
void gemv(const Gemm& g, DType dtype);

}  // namespace kindred
