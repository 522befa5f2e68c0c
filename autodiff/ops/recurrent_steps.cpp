#include "autodiff/ops/recurrent_steps.h"

#include <cstring>
#include <span>

#include "autodiff/ops/gemm.h"
#include "autodiff/ops/gemv.h"
#include "autodiff/ops/layout.h"
#include "autodiff/parallel.h"

namespace kindred {

StepProduct::StepProduct(const Tensor& weight, int64_t batch, Side side)
    : batch_(batch),
      in_(weight.dim(side == Side::forward ? 1 : 0)),
      out_(weight.dim(side == Side::forward ? 0 : 1)) {
  // A product of few rows reads the weight by rows of its outputs, a larger one by rows of its
  // inputs. A weight that lies the other way would be packed anew in every step.
  const bool few = is_gemv({.transpose_b = true, .m = batch_, .n = out_, .k = in_});
  transposed_ = few;
  const bool lies_by_outputs = side == Side::forward;
  weight_ = lies_by_outputs == few ? weight.detach() : transpose(weight.detach());
}

void StepProduct::operator()(const void* rows, void* out) const {
  gemm({.transpose_b = transposed_,
        .m = batch_,
        .n = out_,
        .k = in_,
        .a = rows,
        .b = weight_.raw(),
        .c = out,
        .lda = in_,
        .ldb = transposed_ ? in_ : out_,
        .ldc = out_},
       weight_.dtype());
}

Tensor recurrent_weight_gradient(const Tensor& s, const Tensor& h0, const Tensor& y) {
  const int64_t B = s.dim(0), L = s.dim(1), G = s.dim(2), H = h0.dim(1), rows = y.dim(1);
  const auto row_bytes = static_cast<std::size_t>(H) * size_of(s.dtype());
  Tensor before = Tensor::empty({B, L, H}, s.dtype());
  auto* to = static_cast<std::byte*>(before.mutable_raw());
  const auto *first = static_cast<const std::byte*>(h0.raw()),
             *rest = static_cast<const std::byte*>(y.raw());
  parallel_for(B, std::max<int64_t>(1, kGrain / (L * H)), [=](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      std::byte* row = to + static_cast<std::size_t>(b * L) * row_bytes;
      std::memcpy(row, first + static_cast<std::size_t>(b) * row_bytes, row_bytes);
      std::memcpy(row + row_bytes, rest + static_cast<std::size_t>(b * rows) * row_bytes,
                  static_cast<std::size_t>(L - 1) * row_bytes);
    }
  });
  Tensor dW = Tensor::empty({G, H}, s.dtype());
  gemm({.transpose_a = true,
        .m = G,
        .n = H,
        .k = B * L,
        .a = s.raw(),
        .b = before.raw(),
        .c = dW.mutable_raw(),
        .lda = G,
        .ldb = H,
        .ldc = H},
       s.dtype());
  return dW;
}

Tensor join_steps(const std::vector<Tensor>& steps) {
  std::vector<Tensor> parts;
  for (const Tensor& h : steps) parts.push_back(reshape(h, {h.dim(0), 1, h.dim(1)}));
  constexpr std::size_t kAtOnce = 8;
  while (parts.size() > 1) {
    std::vector<Tensor> joined;
    for (std::size_t i = 0; i < parts.size(); i += kAtOnce)
      joined.push_back(concat(std::span(parts).subspan(i, std::min(kAtOnce, parts.size() - i)), 1));
    parts = std::move(joined);
  }
  return parts.front();
}

}  // namespace kindred
