#include "autodiff/ops/dplr_observe_sums.h"

#include <algorithm>
#include <utility>

#include "autodiff/ops/complex_lanes.h"

namespace kindred::dplr {

template <class T>
ReadTerms<T>::ReadTerms(const ReadMode& m)
    : damping(static_cast<T>(-m.a().real())),
      turn(static_cast<T>(m.a().imag())),
      dt(static_cast<T>(m.dt)),
      v01_re(static_cast<T>((m.dt * m.C * m.P).real())),
      v01_im(static_cast<T>((m.dt * m.C * m.P).imag())),
      v11(static_cast<T>(m.dt * std::norm(m.P))),
      C_re(static_cast<T>(m.C.real())),
      C_im(static_cast<T>(m.C.imag())),
      P_re(static_cast<T>(m.P.real())),
      P_im(static_cast<T>(m.P.imag())) {}

namespace {

template <class T>
using Lanes = ComplexLanes<T>;
template <class T>
Lanes<T> all(T re, T im) {
  return {Vector<T>{} + re, Vector<T>{} + im};
}

/// R and R' of a mode.
template <class T>
struct Resolvents {
  Lanes<T> R, mirrored;
  Resolvents(const ReadTerms<T>& mode, const Vector<T>& two_s, const Vector<T>& c) {
    R = inverse<T>(mode.damping * c, two_s - mode.turn * c);
    mirrored = inverse<T>(mode.damping * c, two_s + mode.turn * c);
  }
};

/// Y and Y'.
template <class T>
struct Rows {
  Lanes<T> Y, mirrored;
  Rows(const ReadTerms<T>& mode, const Lanes<T>& R, const Lanes<T>& R2, const Lanes<T>& cr) {
    const Lanes<T> C = all<T>(mode.C_re, mode.C_im), P = all<T>(mode.P_re, mode.P_im);
    Y = R * (C - conj_times(P, cr));
    mirrored = R2 * (conj(C) - P * cr);
  }
};

/// The table for bins [begin, begin + count), and for the derivative resolvents and 1 / e.
template <class T>
void fill_table(const Circle& circle, int64_t begin, int64_t count, const ReadTable<T>& work) {
  using V = Vector<T>;
  const int64_t M = work.M;
  for (int64_t j = 0; j < count; j += kLanes<T>) {
    const V two_s = as_vector(circle.two_sin<T>() + begin + j),
            c = as_vector(circle.cos<T>() + begin + j);
    const auto row = [&](T* table, int64_t n) { return table + n * kBlock + j; };
    Lanes<T> q01{}, q11{};
    for (int64_t n = 0; n < M; ++n) {
      const ReadTerms<T>& mode = work.terms[n];
      const Resolvents<T> r(mode, two_s, c);
      const Lanes<T> v = all<T>(mode.v01_re, mode.v01_im);
      q01 = q01 + r.R * v + r.mirrored * conj(v);
      q11 = q11 + scaled<T>(V{} + mode.v11, r.R + r.mirrored);
      r.R.store(row(work.table_re, n), row(work.table_im, n));
      r.mirrored.store(row(work.table_re, M + n), row(work.table_im, M + n));
    }
    const Lanes<T> one_over_e = inverse<T>(1 + c * q11.re, c * q11.im);
    const Lanes<T> cr = scaled<T>(c, q01 * one_over_e);
    cr.store(row(work.ratio, 0), row(work.ratio, 1));
    if (work.inverse_e) one_over_e.store(row(work.inverse_e, 0), row(work.inverse_e, 1));
    for (int64_t n = 0; n < M; ++n) {
      const auto R = Lanes<T>::load(row(work.table_re, n), row(work.table_im, n)),
                 R2 = Lanes<T>::load(row(work.table_re, M + n), row(work.table_im, M + n));
      if (work.resolvents) {
        R.store(row(work.resolvents, 4 * n), row(work.resolvents, 4 * n + 1));
        R2.store(row(work.resolvents, 4 * n + 2), row(work.resolvents, 4 * n + 3));
      }
      const Rows<T> y(work.terms[n], R, R2, cr);
      const Lanes<T> difference = y.Y - y.mirrored;
      (y.Y + y.mirrored).store(row(work.table_re, n), row(work.table_im, n));
      Lanes<T>{-difference.im, difference.re}.store(row(work.table_re, M + n),
                                                    row(work.table_im, M + n));
    }
  }
}

/// body(first bin, bins) for blocks of all bins.
template <class Body>
void each_block(const Circle& circle, const Body& body) {
  for (int64_t begin = 0; begin < circle.padded(); begin += kBlock)
    body(begin, std::min(kBlock, circle.padded() - begin));
}

/// X_sums[k][b] += Re(conj(table_k) H_b) over a block: kRows rows of the table, kColumns of b.
template <class T, int kRows, int kColumns>
void add_sums(const ReadTable<T>& work, int64_t begin, int64_t count, int64_t k, int64_t b) {
  Vector<T> sum[kRows][kColumns] = {};
  for (int64_t j = 0; j < count; j += kLanes<T>) {
    Lanes<T> H[kColumns];
#pragma GCC unroll 4
    for (int i = 0; i < kColumns; ++i) {
      const T* at = work.spectrum(b + i) + begin + j;
      H[i] = Lanes<T>::load(at, at + work.padded);
    }
#pragma GCC unroll 4
    for (int r = 0; r < kRows; ++r) {
      const auto row = Lanes<T>::load(work.table_re + (k + r) * kBlock + j,
                                      work.table_im + (k + r) * kBlock + j);
#pragma GCC unroll 4
      for (int i = 0; i < kColumns; ++i) {
        sum[r][i] += row.re * H[i].re;
        sum[r][i] += row.im * H[i].im;
      }
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int i = 0; i < kColumns; ++i)
      as_vector(work.X_sums + ((k + r) * work.B + b + i) * kLanes<T>) += sum[r][i];
}

/// The sums over the bins of a block that give X^ and the gradients of modes.
template <class T>
void add_block(const Circle& circle, int64_t begin, int64_t count, const ReadTable<T>& work) {
  using V = Vector<T>;
  constexpr int64_t W = kLanes<T>;
  const int64_t M = work.M, B = work.B, padded = work.padded;
  fill_table(circle, begin, count, work);
  for (int64_t k = 0; k < 2 * M; k += 2) {
    int64_t b = 0;
    for (; b + 4 <= B; b += 4) add_sums<T, 2, 4>(work, begin, count, k, b);
    for (; b < B; ++b) add_sums<T, 2, 1>(work, begin, count, k, b);
  }
  std::fill_n(work.folded_re, 2 * M * kBlock, T(0));
  std::fill_n(work.folded_im, 2 * M * kBlock, T(0));
  const Strided<T> by_mode{work.X, 1, 2 * M};
  add_product<T>(2 * M, count, B, by_mode, work.spectra + begin, 2 * padded, work.folded_re,
                 kBlock);
  add_product<T>(2 * M, count, B, by_mode, work.spectra + padded + begin, 2 * padded,
                 work.folded_im, kBlock);
  for (int64_t j = 0; j < count; j += W) {
    const V two_s = as_vector(circle.two_sin<T>() + begin + j),
            c = as_vector(circle.cos<T>() + begin + j);
    const auto row = [&](const T* table, int64_t n) { return table + n * kBlock + j; };
    const auto resolvent = [&](int64_t n, int mirrored) {
      return Lanes<T>::load(row(work.resolvents, 4 * n + 2 * mirrored),
                            row(work.resolvents, 4 * n + 2 * mirrored + 1));
    };
    // h and f of a mode.
    const auto folded = [&](int64_t n) {
      const auto real = Lanes<T>::load(row(work.folded_re, n), row(work.folded_im, n)),
                 imaginary = Lanes<T>::load(row(work.folded_re, M + n), row(work.folded_im, M + n));
      const Lanes<T> turned{-imaginary.im, imaginary.re};
      return std::pair(real - turned, real + turned);
    };
    Lanes<T> fed{};
    for (int64_t n = 0; n < M; ++n) {
      const Lanes<T> P = all<T>(work.terms[n].P_re, work.terms[n].P_im);
      const auto [h, f] = folded(n);
      fed =
          fed + conj_times(resolvent(n, 0), P * h) + conj_times(resolvent(n, 1), conj_times(P, f));
    }
    const auto one_over_e = Lanes<T>::load(row(work.inverse_e, 0), row(work.inverse_e, 1)),
               cr = Lanes<T>::load(row(work.ratio, 0), row(work.ratio, 1));
    const Lanes<T> U = scaled<T>(c, conj_times(one_over_e, fed));
    for (int64_t n = 0; n < M; ++n) {
      const ReadTerms<T>& mode = work.terms[n];
      const V dt = V{} + mode.dt;
      const Lanes<T> R = resolvent(n, 0), R2 = resolvent(n, 1), P = all<T>(mode.P_re, mode.P_im);
      const Rows<T> y(mode, R, R2, cr);
      const auto [h, f] = folded(n);
      const Lanes<T> E = conj_times(R, h - scaled<T>(dt, conj_times(P, U))),
                     E2 = R2 * conj(f - scaled<T>(dt, P * U));
      const Lanes<T> one = conj_times(y.Y, E), other = y.mirrored * E2;
      T* sums = work.mode_sums + n * ReadTable<T>::kModeSums * W;
      const auto add = [&](int k, const Lanes<T>& z) {
        as_vector(sums + k * W) += z.re;
        as_vector(sums + (k + 1) * W) += z.im;
      };
      add(0, E + E2);
      add(2, scaled<T>(c, one + other));
      add(4, scaled<T>(dt, conj_times(y.Y, U) + conj_times(U, y.mirrored)) + conj(cr * E2) +
                 conj_times(E, cr));
      as_vector(sums + 6 * W) += two_s * (one.im - other.im);
    }
  }
}

}  // namespace

template <class T>
void read_spectra(const Circle& circle, const ReadTable<T>& work) {
  const int64_t padded = work.padded, terms = 2 * work.M;
  each_block(circle, [&](int64_t begin, int64_t count) {
    fill_table(circle, begin, count, work);
    for (int64_t b = 0; b < 2 * work.B; ++b)
      std::fill_n(work.spectra + b * padded + begin, count, T(0));
    const Strided<T> X{work.X, terms, 1};
    add_product<T>(work.B, count, terms, X, work.table_re, kBlock, work.spectra + begin,
                   2 * padded);
    add_product<T>(work.B, count, terms, X, work.table_im, kBlock, work.spectra + padded + begin,
                   2 * padded);
    for (int64_t j = begin; j < begin + count; j += kLanes<T>) {
      const Lanes<T> turn{as_vector(circle.cos<T>() + j),
                          T(0.5) * as_vector(circle.two_sin<T>() + j)};
      for (int64_t b = 0; b < work.B; ++b) {
        T* bin = work.spectrum(b) + j;
        (turn * Lanes<T>::load(bin, bin + padded)).store(bin, bin + padded);
      }
    }
  });
}

template <class T>
void read_gradient(const Circle& circle, const ReadTable<T>& work) {
  constexpr int64_t W = kLanes<T>;
  std::fill_n(work.X_sums, 2 * work.M * work.B * W, T(0));
  std::fill_n(work.mode_sums, work.M * ReadTable<T>::kModeSums * W, T(0));
  each_block(circle, [&](int64_t begin, int64_t count) { add_block(circle, begin, count, work); });
}

template struct ReadTerms<float>;
template struct ReadTerms<double>;
template void read_spectra(const Circle&, const ReadTable<float>&);
template void read_spectra(const Circle&, const ReadTable<double>&);
template void read_gradient(const Circle&, const ReadTable<float>&);
template void read_gradient(const Circle&, const ReadTable<double>&);

}  // namespace kindred::dplr
