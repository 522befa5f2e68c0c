#include "ssm/modal_system.h"

#include <algorithm>

#include "autodiff/ops/matmul.h"
#include "autodiff/ops/reduce.h"

namespace kindred::ssm {

namespace {

/// L steps in `blocks` of T = 2^log_T.
struct Cut {
  int64_t L, T = 16, blocks;
  int log_T = 4;
  explicit Cut(int64_t length) : L(length) {
    while (T < L && T < kLongest) {
      T *= 2;
      ++log_T;
    }
    blocks = (L + T - 1) / T;
  }
  int64_t padding() const { return blocks * T - L; }

 private:
  static constexpr int64_t kLongest = 128;
};

/// A^0 .. A^(count-1) along a new last dimension; base becomes A^(2^k), the first beyond 2^k >=
/// count.
Planes powers(Planes& base, int64_t count) {
  const int64_t H = base.re.dim(0), M = base.re.dim(1);
  base = {reshape(base.re, {H, M, 1}), reshape(base.im, {H, M, 1})};
  const DType dtype = base.re.dtype();
  Planes p{Tensor::ones({H, M, 1}, dtype), Tensor::zeros({H, M, 1}, dtype)};
  while (p.re.dim(2) < count) {
    const Planes next = p * base;
    p = {concat({p.re, next.re}, 2), concat({p.im, next.im}, 2)};
    base = base * base;
  }
  return {slice(p.re, 2, 0, count), slice(p.im, 2, 0, count)};
}

/// A^i for i < T, and A^{bT} for b < blocks.
struct Tables {
  Planes within, starts;
  Tables(const Planes& A, const Cut& cut) {
    Planes base = A;
    within = powers(base, cut.T);
    base = {reshape(base.re, A.re.shape()), reshape(base.im, A.re.shape())};
    starts = powers(base, cut.blocks);
  }
};

/// The state [2, B, H, M] as planes [H, B, 1, M].
Planes channels_first(const Tensor& x) {
  const Planes p = planes_of(x, x.dtype());
  const int64_t B = x.dim(1), H = x.dim(2), M = x.dim(3);
  return {reshape(permute(p.re, {1, 0, 2}), {H, B, 1, M}),
          reshape(permute(p.im, {1, 0, 2}), {H, B, 1, M})};
}

/// Table [H, M, n] as a factor [H, 1, n, M] of per-block states.
Planes as_factor(const Planes& table, DType dtype) {
  const int64_t H = table.re.dim(0), M = table.re.dim(1), n = table.re.dim(2);
  const auto turn = [&](const Tensor& t) {
    return cast(reshape(permute(t, {0, 2, 1}), {H, 1, n, M}), dtype);
  };
  return {turn(table.re), turn(table.im)};
}

Planes column(const Planes& x) {
  const int64_t H = x.re.dim(0), M = x.re.dim(1);
  return {reshape(x.re, {H, M, 1}), reshape(x.im, {H, M, 1})};
}

}  // namespace

// y_{bT+i} = 2 Re sum_n A^i_n (out A^{bT+1} x)_n.
Tensor observe(const ModalSystem& s, const Tensor& x, int64_t L) {
  const Cut cut(L);
  const Tables table(s.A, cut);
  const int64_t B = x.dim(1), H = x.dim(2), M = x.dim(3);
  const Planes factor = as_factor(scale(column(s.out * s.A), 2) * table.starts, x.dtype());
  const Planes z = channels_first(x) * factor;  // [H, B, blocks, M]
  const Tensor both = reshape(concat({z.re, neg(z.im)}, 3), {H, B * cut.blocks, 2 * M});
  const Tensor powers = cast(concat({table.within.re, table.within.im}, 1), x.dtype());
  const Tensor y = reshape(matmul(both, powers), {H, B, cut.blocks * cut.T});
  return permute(cut.padding() ? slice(y, 2, 0, L) : y, {1, 2, 0});
}

// With zeros in front of u, p = bT+i counts from there: x_L = A^L x + sum_b A^{(blocks-1-b)T} sum_i
// A^{T-1-i} u_p.
Tensor control(const ModalSystem& s, const Tensor& u, const Tensor& x) {
  const int64_t B = u.dim(0), L = u.dim(1), H = u.dim(2), M = s.A.re.dim(1);
  const Cut cut(L);
  const Tables table(s.A, cut);
  const Tensor rows = permute(cut.padding() ? pad(u, 1, cut.padding(), 0) : u, {2, 0, 1});
  const Tensor powers =
      cast(flip(concat({table.within.re, table.within.im}, 1), 2), u.dtype());  // [H, 2M, T]
  const Tensor sums =
      reshape(matmul(reshape(rows, {H, B * cut.blocks, cut.T}), powers, {.transpose_b = true}),
              {H, B, cut.blocks, 2 * M});
  const Planes within{slice(sums, 3, 0, M), slice(sums, 3, M, M)};
  const Planes later = as_factor({flip(table.starts.re, 2), flip(table.starts.im, 2)}, u.dtype());
  const Planes terms = within * later;
  Planes after{sum(terms.re, 2), sum(terms.im, 2)};  // [H, B, M]
  if (x.defined()) {
    Planes power = table.starts, base;  // A^L = A^{(blocks-1) T} A^{T - padding}
    const int64_t last = cut.T - cut.padding();
    const auto at = [](const Planes& p, int64_t k) {
      return Planes{slice(p.re, 2, k, 1), slice(p.im, 2, k, 1)};
    };
    base = last < cut.T ? at(table.within, last) : at(table.within, cut.T - 1) * column(s.A);
    const Planes decay = as_factor(at(power, cut.blocks - 1) * base, u.dtype());  // [H, 1, 1, M]
    const Planes kept = channels_first(x) * decay;
    after = after + Planes{reshape(kept.re, {H, B, M}), reshape(kept.im, {H, B, M})};
  }
  return joined({permute(after.re, {1, 0, 2}), permute(after.im, {1, 0, 2})});
}

}  // namespace kindred::ssm
