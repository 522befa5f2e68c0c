#include "ssm/step_system.h"

#include <algorithm>

#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"

namespace kindred::ssm {

namespace {

constexpr MatmulFlags kSecondTransposed{.transpose_b = true};

/// L steps in `blocks` of T, both powers of two.
struct Cut {
  int64_t L, T = 16, blocks = 1;
  explicit Cut(int64_t length) : L(length) {
    while (T < L && T < 64) T *= 2;
    while (blocks * T < L) blocks *= 2;
  }
  int64_t padding() const { return blocks * T - L; }
};

/// Rows x A^0 .. x A^(count-1) of x [H, 1, N], count a power of two: [H, count, N]. base = A on
/// entry, A^count on return.
Tensor rows_of_powers(const Tensor& x, Tensor& base, int64_t count) {
  Tensor rows = x;
  while (rows.dim(1) < count) {
    rows = concat({rows, matmul(rows, base)}, 1);
    base = matmul(base, base);
  }
  return rows;
}
/// The same of rows (A^k x)^T.
Tensor rows_of_columns(const Tensor& x, Tensor& base, int64_t count) {
  Tensor rows = x;
  while (rows.dim(1) < count) {
    rows = concat({rows, matmul(rows, base, kSecondTransposed)}, 1);
    base = matmul(base, base);
  }
  return rows;
}

Tensor as_row(const Tensor& x) { return reshape(x, {x.dim(0), 1, x.dim(1)}); }

}  // namespace

Tensor matrix_power(const Tensor& A, int64_t n) {
  check(n >= 1, "ssm", "power ", n, " of a state matrix");
  Tensor result, base = A;
  for (; n > 0; n /= 2) {
    if (n % 2) result = result.defined() ? matmul(result, base) : base;
    if (n > 1) base = matmul(base, base);
  }
  return result;
}

Tensor impulse_response(const StepSystem& s, int64_t L) {
  const Cut cut(L);
  const int64_t H = s.A.dim(0);
  Tensor base = s.A;
  const Tensor outputs = rows_of_powers(as_row(s.C), base, cut.T);       // C A^i
  const Tensor starts = rows_of_columns(as_row(s.B), base, cut.blocks);  // A^{bT} B
  const Tensor k = reshape(matmul(starts, outputs, kSecondTransposed), {H, cut.blocks * cut.T});
  return cut.padding() ? slice(k, 1, 0, L) : k;
}

Tensor observe(const StepSystem& s, const Tensor& x, int64_t L) {
  const Cut cut(L);
  const int64_t B = x.dim(0), H = x.dim(1);
  Tensor base = s.A;
  const Tensor first = matmul(as_row(s.C), s.A);  // C A: the state has moved before it is read
  const Tensor outputs = cast(rows_of_powers(first, base, cut.T), x.dtype());
  Tensor z = permute(x, {1, 0, 2});  // [H, blocks so far * B, N]
  for (int64_t blocks = 1; blocks < cut.blocks; blocks *= 2) {
    z = concat({z, matmul(z, cast(base, x.dtype()), kSecondTransposed)}, 1);
    if (2 * blocks < cut.blocks) base = matmul(base, base);
  }
  const Tensor y = reshape(matmul(z, outputs, kSecondTransposed), {H, cut.blocks, B, cut.T});
  const Tensor in_order = reshape(permute(y, {2, 1, 3, 0}), {B, cut.blocks * cut.T, H});
  return cut.padding() ? slice(in_order, 1, 0, L) : in_order;
}

Tensor control(const StepSystem& s, const Tensor& u, const Tensor& x) {
  const int64_t B = u.dim(0), L = u.dim(1), H = u.dim(2), N = s.A.dim(2);
  const Cut cut(L);
  Tensor base = s.A;
  const Tensor inputs = cast(flip(rows_of_columns(as_row(s.B), base, cut.T), 1), u.dtype());
  const Tensor padded = cut.padding() ? pad(u, 1, cut.padding(), 0) : u;
  const Tensor rows = permute(reshape(padded, {B, cut.blocks, cut.T, H}), {3, 1, 0, 2});
  // w_b = sum_i A^{T-1-i} B u_{bT+i}, then neighbours join: A^T w_b + w_{b+1}, A^{2T}, ...
  Tensor w = matmul(reshape(rows, {H, cut.blocks * B, cut.T}), inputs);  // [H, blocks * B, N]
  for (int64_t blocks = cut.blocks / 2; blocks >= 1; blocks /= 2) {
    const Tensor pairs = reshape(w, {H, blocks, 2, B * N});
    const auto half = [&](int64_t k) { return reshape(slice(pairs, 2, k, 1), {H, blocks * B, N}); };
    w = matmul(half(0), cast(base, u.dtype()), kSecondTransposed) + half(1);
    if (blocks > 1) base = matmul(base, base);
  }
  if (x.defined()) {
    const Tensor whole = cut.padding()    ? matrix_power(s.A, L)
                         : cut.blocks > 1 ? matmul(base, base)
                                          : base;
    w = w + matmul(permute(x, {1, 0, 2}), cast(whole, u.dtype()), kSecondTransposed);
  }
  return permute(w, {1, 0, 2});
}

}  // namespace kindred::ssm
