#include "nn/embedding.h"

#include "autodiff/ops/index.h"
#include "autodiff/ops/matmul.h"

namespace kindred::nn {

Embedding Embedding::make(int64_t rows, int64_t width, const Rng& rng, double std, DType dtype) {
  return {normal({rows, width}, std, rng.split("table"), Role::embedding, dtype)};
}
Tensor Embedding::operator()(const Tensor& index) const { return take(table.value, index); }
Tensor Embedding::as_head(const Tensor& x) const { return linear(x, table.value); }

}  // namespace kindred::nn
