// The one seam for matrix products: oneDNN (f32, bf16) where built in, else OpenBLAS. f64 always
// OpenBLAS. Linear maps of at most four rows: gemv.h. Row-major; row strides in elements; batches
// by stride.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred {

struct Gemm {
  bool transpose_a = false, transpose_b = false;
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  const void* b = nullptr;
  void* c = nullptr;
  int64_t lda = 0, ldb = 0, ldc = 0;  ///< row strides as stored (before transposition)
  int64_t batch = 1, stride_a = 0, stride_b = 0, stride_c = 0;
  bool accumulate = false;  ///< c += instead of c =
};

/// Multiply-adds below which one thread is quicker than two.
inline constexpr double kSmallProduct = 128 * 128 * 64;

/// c = op(a) op(b) [+ c] for each batch entry. Callable from one thread at a time.
void gemm(const Gemm& g, DType dtype);

/// Inputs of f32 products and convolutions are rounded to bf16 (sums stay f32) while on.
enum class GemmPrecision { f32, bf16 };
/// Why bf16 cannot be used by this program on this processor; empty if it can.
std::string bf16_obstacle();
/// Usage error for bf16 where there is an obstacle.
void set_gemm_precision(GemmPrecision precision);
GemmPrecision gemm_precision();

/// Keeps every call of gemm() while one is alive, in order, so that a benchmark can repeat the
/// products of a piece of work without the rest. The pointers only tell which calls share memory.
class GemmRecorder {
 public:
  struct Entry {
    Gemm call;
    DType dtype;
  };
  /// Starts. One at a time: usage error if another is alive.
  GemmRecorder();
  ~GemmRecorder();
  GemmRecorder(const GemmRecorder&) = delete;
  GemmRecorder& operator=(const GemmRecorder&) = delete;
  const std::vector<Entry>& calls() const { return calls_; }

 private:
  friend void gemm(const Gemm& g, DType dtype);
  std::vector<Entry> calls_;
};

/// Which libraries do the work, for benchmarks and manifests: "oneDNN 2.6.3 (avx512_core), ...".
std::string gemm_description();

}  // namespace kindred
