// The DPLR kernel in public ops, for a low-rank term of any rank. With row 0 standing for C, column
// 0 for B and the others for P_k* and P_k, the (r+1)^2 Cauchy products q form a matrix; taking P_r,
// ..., P_1 out one by one (Woodbury's identity),
//   q_ij <- q_ij - c q_ik q_kj / (1 + c q_kk),
// leaves the spectrum (c + i s) q_00. No pivoting is needed: the matrix 1 + c q of the P_k has a
// positive definite Hermitian part.
#include <algorithm>
#include <vector>

#include "autodiff/ops/dplr_kernel.h"
#include "autodiff/ops/dplr_kernel_sums.h"
#include "autodiff/ops/matmul.h"
#include "autodiff/ops/planes.h"
#include "autodiff/ops/rfft.h"
#include "autodiff/recompute.h"

namespace kindred {

namespace {

struct Inputs {
  Tensor log_neg_re, im, P, B, C, log_dt;
  int64_t channels() const { return im.dim(0); }
  int64_t modes() const { return im.dim(1); }
  int64_t rank() const { return P.dim(1); }
  Inputs group(int64_t start, int64_t count) const {
    return {slice(log_neg_re, 0, start, count), slice(im, 0, start, count),
            slice(P, 2, start, count),          slice(B, 1, start, count),
            slice(C, 1, start, count),          slice(log_dt, 0, start, count)};
  }
};

/// Spectrum [2, H, J] of a few channels; s and c are [J].
Tensor spectrum(const Inputs& in, const Tensor& two_s, const Tensor& c) {
  const int64_t H = in.channels(), M = in.modes(), J = c.numel(), r = in.rank(), size = r + 1;
  const auto plane = [&](const Tensor& x, int64_t k) { return reshape(slice(x, 0, k, 1), {H, M}); };
  const auto vector = [&](const Tensor& x) { return Planes{plane(x, 0), plane(x, 1)}; };
  const Tensor dt = exp(in.log_dt.rank() == 1 ? reshape(in.log_dt, {H, 1}) : in.log_dt);
  const Planes a = dt * Planes{neg(exp(in.log_neg_re)), in.im};

  // rho [H, M, J].
  const auto column = [&](const Tensor& x) { return reshape(x, {H, M, 1}); };
  const Tensor reach = column(sqrt(square(a.re) + square(a.im))) * c;
  const Planes rho =
      inverse({(reach - two_s) * (reach + two_s), scale(column(a.re) * (two_s * c), -2)});

  // Rows C, P_k* and columns B, P_k of the numerators; their parts as [H, size^2, M].
  std::vector<Planes> rows{vector(in.C)}, columns{vector(in.B)};
  for (int64_t k = 0; k < r; ++k) {
    columns.push_back(vector(slice(in.P, 1, k, 1)));
    rows.push_back(conj(columns.back()));
  }
  std::vector<Planes> q;
  for (const Planes& row : rows)
    for (const Planes& v : columns) {
      const Planes numerator = dt * (row * v);
      const Tensor turned = numerator.re * a.re + numerator.im * a.im;  // Re(v conj(a))
      const auto summed = [&](const Tensor& by, const Tensor& part) {
        return reshape(matmul(reshape(by, {H, 1, M}), part), {H, J});
      };
      q.push_back({scale(c * summed(turned, rho.re) + two_s * summed(numerator.re, rho.im), -2),
                   scale(two_s * summed(numerator.re, rho.re) - c * summed(turned, rho.im), 2)});
    }
  for (int64_t k = r; k >= 1; --k) {
    const auto at = [&](int64_t i, int64_t j) -> Planes& {
      return q[static_cast<std::size_t>(i * size + j)];
    };
    const Planes e{c * at(k, k).re + 1, c * at(k, k).im};
    const Planes factor = c * inverse(e);
    for (int64_t i = 0; i < k; ++i) {
      const Planes left = factor * at(i, k);
      for (int64_t j = 0; j < k; ++j) at(i, j) = at(i, j) - left * at(k, j);
    }
  }
  const Planes K = Planes{broadcast_to(c, {H, J}), broadcast_to(scale(two_s, 0.5), {H, J})} * q[0];
  return concat({reshape(K.re, {1, H, J}), reshape(K.im, {1, H, J})}, 0);
}

/// Joins any number of tensors along dimension 0.
Tensor join(std::vector<Tensor> parts) {
  constexpr std::size_t kMost = 8;  // of concat
  while (parts.size() > 1) {
    std::vector<Tensor> joined;
    for (std::size_t i = 0; i < parts.size(); i += kMost)
      joined.push_back(concat(std::span(parts).subspan(i, std::min(kMost, parts.size() - i)), 0));
    parts = std::move(joined);
  }
  return parts[0];
}

/// Modes times bins of the channels that are treated at once.
constexpr int64_t kGroup = int64_t{1} << 19;

}  // namespace

Tensor dplr_kernel_of_rank(const Tensor& log_neg_re, const Tensor& im, const Tensor& P,
                           const Tensor& B, const Tensor& C, const Tensor& log_dt, int64_t length) {
  const char* name = "dplr_kernel_of_rank";
  const Shape& s = log_neg_re.shape();
  const bool modes = s.rank() == 2 && s.numel() > 0 && im.shape() == s;
  const Shape planes = modes ? Shape{2, s[0], s[1]} : Shape{};
  check(modes && B.shape() == planes && C.shape() == planes && P.rank() == 4 && P.dim(1) >= 1 &&
            P.shape() == Shape({2, P.dim(1), s[0], s[1]}) &&
            (log_dt.shape() == Shape{s[0]} || log_dt.shape() == s),
        name,
        "needs log_neg_re [H, M], im [H, M], P [2, r, H, M], B and C [2, H, M], log_dt [H] or "
        "[H, M]; got ",
        s, ", ", im.shape(), ", ", P.shape(), ", ", B.shape(), ", ", C.shape(), ", ",
        log_dt.shape());
  check(length >= 1, name, "length ", length, " for modes of shape ", s);

  const dplr::Circle circle(length, im.dtype());
  const auto row = [&](auto* values) {
    return Tensor::from(std::span(values, static_cast<std::size_t>(circle.bins())),
                        {circle.bins()});
  };
  const auto [two_s, c] = dispatch_float(im.dtype(), [&]<class T>(T) {
    return std::pair(row(circle.two_sin<T>()), row(circle.cos<T>()));
  });
  const Inputs all{log_neg_re, im, P, B, C, log_dt};
  const int64_t H = s[0], group = std::max<int64_t>(1, kGroup / (s[1] * circle.bins()));
  if (H <= group) return irfft(spectrum(all, two_s, c), length);
  std::vector<Tensor> rows;
  for (int64_t h = 0; h < H; h += group) {
    Inputs in = all.group(h, std::min(group, H - h));
    const auto kernel = [in, two_s, c, length](const Tensor& step) mutable {
      in.log_dt = step;
      return irfft(spectrum(in, two_s, c), length);
    };
    rows.push_back(recompute(kernel, in.log_dt));
  }
  return join(std::move(rows));
}

}  // namespace kindred
