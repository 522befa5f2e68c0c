#include "ssm/dplr.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "autodiff/check.h"
#include "autodiff/parallel.h"
#include "autodiff/xt.h"

namespace kindred::ssm {

namespace {

using Complex = std::complex<double>;

/// A matrix of doubles, row-major. Own loops and not LAPACK: bits that do not depend on threads.
struct Matrix {
  std::size_t rows, columns;
  std::vector<double> values;
  Matrix(std::size_t m, std::size_t n) : rows(m), columns(n), values(m * n) {}
  double* row(std::size_t i) { return values.data() + i * columns; }
  const double* row(std::size_t i) const { return values.data() + i * columns; }
  static Matrix identity(std::size_t n) {
    Matrix I(n, n);
    for (std::size_t i = 0; i < n; ++i) I.row(i)[i] = 1;
    return I;
  }
  Matrix transposed() const {
    Matrix t(columns, rows);
    for (std::size_t i = 0; i < rows; ++i)
      for (std::size_t j = 0; j < columns; ++j) t.row(j)[i] = row(i)[j];
    return t;
  }
};

void add_row(double* __restrict to, double factor, const double* __restrict from, std::size_t n) {
  for (std::size_t j = 0; j < n; ++j) to[j] += factor * from[j];
}

Matrix operator*(const Matrix& a, const Matrix& b) {
  Matrix c(a.rows, b.columns);
  for (std::size_t i = 0; i < a.rows; ++i)
    for (std::size_t k = 0; k < a.columns; ++k) add_row(c.row(i), a.row(i)[k], b.row(k), b.columns);
  return c;
}

/// a^{-1} x by Gaussian elimination with partial pivoting.
Matrix solve(Matrix a, Matrix x) {
  const std::size_t n = a.rows;
  for (std::size_t k = 0; k < n; ++k) {
    std::size_t pivot = k;
    for (std::size_t i = k + 1; i < n; ++i)
      if (std::abs(a.row(i)[k]) > std::abs(a.row(pivot)[k])) pivot = i;
    if (pivot != k) {
      std::swap_ranges(a.row(k), a.row(k) + n, a.row(pivot));
      std::swap_ranges(x.row(k), x.row(k) + x.columns, x.row(pivot));
    }
    for (std::size_t i = k + 1; i < n; ++i) {
      const double factor = -a.row(i)[k] / a.row(k)[k];
      add_row(a.row(i) + k, factor, a.row(k) + k, n - k);
      add_row(x.row(i), factor, x.row(k), x.columns);
    }
  }
  for (std::size_t k = n; k-- > 0;) {
    for (std::size_t i = k + 1; i < n; ++i) add_row(x.row(k), -a.row(k)[i], x.row(i), x.columns);
    for (std::size_t j = 0; j < x.columns; ++j) x.row(k)[j] /= a.row(k)[k];
  }
  return x;
}

Matrix power(Matrix base, int64_t exponent) {
  Matrix result = Matrix::identity(base.rows);
  for (; exponent > 0; exponent /= 2) {
    if (exponent % 2 == 1) result = result * base;
    if (exponent > 1) base = base * base;
  }
  return result;
}

Complex at(const Tensor& planes, int64_t i) {
  return {planes.item(i), planes.item(planes.numel() / 2 + i)};
}

/// body(channel h, its C as a real column) -> another column, for all channels: [2, H, M], f64.
template <class Body>
Tensor map_output(const char* where, const DplrParameters& system, const Tensor& C,
                  const Body& body) {
  system.validate();
  const int64_t H = system.channels(), M = system.modes();
  check(C.is_float() && C.shape() == Shape({2, H, M}), where, "needs an output matrix [2, ", H,
        ", ", M, "], got ", C.shape());
  Tensor out = Tensor::empty(C.shape(), DType::f64);
  double* values = out.mutable_data<double>();
  parallel_for(H, 1, [&](int64_t begin, int64_t end) {
    for (int64_t h = begin; h < end; ++h) {
      std::vector<Complex> row;
      for (int64_t n = 0; n < M; ++n) row.push_back(at(C, h * M + n));
      Matrix column(2 * row.size(), 1);
      column.values = real_output(row);
      column = body(h, column);
      row = complex_output(column.values);
      for (int64_t n = 0; n < M; ++n) {
        values[h * M + n] = row[static_cast<std::size_t>(n)].real();
        values[(H + h) * M + n] = row[static_cast<std::size_t>(n)].imag();
      }
    }
  });
  return out;
}

/// I + sign Ab^length, transposed.
Matrix closing(const DplrChannel& channel, int64_t length, double sign) {
  const DenseSystem dense = dense_system(channel);
  const auto N = static_cast<std::size_t>(dense.N);
  Matrix Ab(N, N);
  Ab.values = dense.A;
  Matrix m = power(std::move(Ab), length).transposed();
  for (double& value : m.values) value *= sign;
  for (std::size_t i = 0; i < N; ++i) m.row(i)[i] += 1;
  return m;
}

void check_length(const char* where, int64_t length, double rate) {
  check(length >= 1 && rate > 0 && std::isfinite(rate), where, "length ", length, " and rate ",
        rate, " must be positive");
}

}  // namespace

void DplrParameters::validate() const {
  const Shape& s = im.shape();
  const bool modes = s.rank() == 2 && s.numel() > 0 && log_neg_re.shape() == s;
  const Shape planes = modes ? Shape{2, s[0], s[1]} : Shape{};
  check(modes && B.shape() == planes &&
            (P.shape() == planes ||
             (P.rank() == 4 && P.dim(1) >= 1 && P.shape() == Shape({2, P.dim(1), s[0], s[1]}))) &&
            (log_dt.shape() == s || log_dt.shape() == Shape({s[0]})),
        "dplr",
        "needs log_neg_re and im [H, M], P [2, H, M] or [2, r, H, M], B [2, H, M], log_dt [H] or "
        "[H, M]; got ",
        log_neg_re.shape(), ", ", s, ", ", P.shape(), ", ", B.shape(), ", ", log_dt.shape());
}

Tensor recover_output(const DplrParameters& system, const Tensor& C_tilde, int64_t length) {
  check_length("recover_output", length, 1);
  return map_output("recover_output", system, C_tilde, [&](int64_t h, const Matrix& c) {
    return solve(closing(DplrChannel::of(system, h), length, -1), c);
  });
}

Tensor aim_output(const DplrParameters& system, const Tensor& C, int64_t length, double rate) {
  check_length("aim_output", length, rate);
  return map_output("aim_output", system, C, [&](int64_t h, const Matrix& c) {
    return closing(DplrChannel::of(system, h, rate), length, -1) * c;
  });
}

Tensor double_length(const DplrParameters& system, const Tensor& C_tilde, int64_t length) {
  check_length("double_length", length, 1);
  return map_output("double_length", system, C_tilde, [&](int64_t h, const Matrix& c) {
    return closing(DplrChannel::of(system, h), length, 1) * c;
  });
}

Tensor reaim_output(const DplrParameters& system, const Tensor& C_tilde, int64_t length,
                    double rate, int64_t new_length) {
  return aim_output(system, recover_output(system, C_tilde, length), new_length, rate);
}

DplrChannel DplrChannel::of(const DplrParameters& system, int64_t h, double rate) {
  const int64_t H = system.channels(), M = system.modes();
  const int64_t rank = system.P.rank() == 4 ? system.P.dim(1) : 1;
  DplrChannel channel;
  channel.P.resize(static_cast<std::size_t>(rank));
  for (int64_t i = h * M; i < (h + 1) * M; ++i) {
    const int64_t step = system.log_dt.rank() == 2 ? i : h;
    channel.dt.push_back(rate * std::exp(system.log_dt.item(step)));
    channel.lambda.emplace_back(-std::exp(system.log_neg_re.item(i)), system.im.item(i));
    channel.B.push_back(at(system.B, i));
    for (int64_t k = 0; k < rank; ++k)
      channel.P[static_cast<std::size_t>(k)].push_back(at(system.P, k * H * M + i));
  }
  return channel;
}

DenseSystem dense_system(const DplrChannel& channel) {
  const std::size_t M = channel.modes(), N = 2 * M;
  Matrix half(N, N), input(N, 1);  // dt A / 2, dt B
  std::vector<double> p(N);
  for (std::size_t n = 0; n < M; ++n) {
    half.row(n)[n] = half.row(M + n)[M + n] = channel.lambda[n].real();
    half.row(M + n)[n] = channel.lambda[n].imag();
    half.row(n)[M + n] = -channel.lambda[n].imag();
    input.values[n] = channel.dt[n] * channel.B[n].real();
    input.values[M + n] = channel.dt[n] * channel.B[n].imag();
  }
  for (const auto& P : channel.P) {
    for (std::size_t n = 0; n < M; ++n) {
      p[n] = P[n].real();
      p[M + n] = P[n].imag();
    }
    // P P* x over both modes of every pair: P 2 Re(P* x).
    for (std::size_t i = 0; i < N; ++i) add_row(half.row(i), -2 * p[i], p.data(), N);
  }
  Matrix left = Matrix::identity(N), right = Matrix(N, N + 1);
  for (std::size_t i = 0; i < N; ++i) {
    const double factor = channel.dt[i % M] / 2;
    add_row(left.row(i), -factor, half.row(i), N);
    add_row(right.row(i), factor, half.row(i), N);
    right.row(i)[i] += 1;
    right.row(i)[N] = input.values[i];
  }
  const Matrix solved = solve(std::move(left), std::move(right));
  DenseSystem system{static_cast<int64_t>(N), {}, {}};
  for (std::size_t i = 0; i < N; ++i) {
    system.A.insert(system.A.end(), solved.row(i), solved.row(i) + N);
    system.B.push_back(solved.row(i)[N]);
  }
  return system;
}

std::vector<double> real_output(const std::vector<Complex>& C) {
  std::vector<double> c;
  for (const Complex& value : C) c.push_back(2 * value.real());
  for (const Complex& value : C) c.push_back(-2 * value.imag());
  return c;
}
std::vector<Complex> complex_output(const std::vector<double>& c) {
  const std::size_t M = c.size() / 2;
  std::vector<Complex> C;
  for (std::size_t n = 0; n < M; ++n) C.emplace_back(c[n] / 2, -c[M + n] / 2);
  return C;
}

LinearStep::LinearStep(const DplrChannel& channel, std::vector<Complex> C)
    : state(channel.modes()), channel_(channel), C_(std::move(C)) {
  const std::size_t M = channel.modes(), r = channel.P.size();
  check(C_.size() == M, "dplr", C_.size(), " outputs for ", M, " modes");
  for (std::size_t n = 0; n < M; ++n) {
    D_.push_back(1. / (2 / channel.dt[n] - channel.lambda[n]));
    E_.push_back(2 / channel.dt[n] + channel.lambda[n]);
  }
  Matrix G = Matrix::identity(r);
  for (std::size_t k = 0; k < r; ++k)
    for (std::size_t l = 0; l < r; ++l)
      for (std::size_t n = 0; n < M; ++n)
        G.row(k)[l] += 2 * (std::conj(channel.P[k][n]) * D_[n] * channel.P[l][n]).real();
  inverse_ = solve(std::move(G), Matrix::identity(r)).values;
}

double LinearStep::operator()(double u) {
  const std::size_t M = state.size(), r = channel_.P.size();
  const auto inner = [&](const std::vector<Complex>& P, const std::vector<Complex>& x) {
    double sum = 0;
    for (std::size_t n = 0; n < M; ++n) sum += 2 * (std::conj(P[n]) * x[n]).real();
    return sum;
  };
  std::vector<Complex> v(M);
  for (std::size_t n = 0; n < M; ++n) v[n] = E_[n] * state[n] + 2 * u * channel_.B[n];
  for (const auto& P : channel_.P) {
    const double size = inner(P, state);
    for (std::size_t n = 0; n < M; ++n) v[n] -= size * P[n];
  }
  for (std::size_t n = 0; n < M; ++n) state[n] = D_[n] * v[n];
  std::vector<double> reached;
  for (const auto& P : channel_.P) reached.push_back(inner(P, state));
  for (std::size_t k = 0; k < r; ++k) {
    double w = 0;
    for (std::size_t l = 0; l < r; ++l) w += inverse_[k * r + l] * reached[l];
    for (std::size_t n = 0; n < M; ++n) state[n] -= w * D_[n] * channel_.P[k][n];
  }
  double y = 0;
  for (std::size_t n = 0; n < M; ++n) y += 2 * (C_[n] * state[n]).real();
  return y;
}

DiagonalSystem diagonal_system(const DenseSystem& system, const std::vector<double>& c) {
  const auto N = static_cast<std::size_t>(system.N);
  check(c.size() == N, "dplr", c.size(), " outputs for a state of ", N);
  xt::xtensor<double, 2> Ab({N, N});
  std::copy(system.A.begin(), system.A.end(), Ab.begin());
  const auto [values, vectors] = xt::linalg::eig(Ab);
  DiagonalSystem d{};
  xt::xtensor<Complex, 2> inverse;
  try {
    inverse = xt::linalg::inv(vectors);
  } catch (const std::runtime_error&) {  // singular to the last digit
    d.residual = std::numeric_limits<double>::infinity();
    return d;
  }
  std::vector<std::size_t> kept;
  for (std::size_t m = 0; m < N; ++m)
    if (values(m).imag() >= 0) kept.push_back(m);
  for (const std::size_t m : kept) {
    // The conjugate of a pair is left out, so its twin counts twice.
    const double weight = values(m).imag() > 0 ? 2 : 1;
    Complex B = 0, C = 0;
    for (std::size_t n = 0; n < N; ++n) {
      B += inverse(m, n) * system.B[n];
      C += c[n] * vectors(n, m);
      d.to_modes.push_back(inverse(m, n));
    }
    d.A.push_back(values(m));
    d.B.push_back(B);
    d.C.push_back(weight * C);
  }
  for (std::size_t n = 0; n < N; ++n)
    for (const std::size_t m : kept)
      d.from_modes.push_back((values(m).imag() > 0 ? 2. : 1.) * vectors(n, m));
  const std::size_t modes = kept.size();
  for (std::size_t i = 0; i < N; ++i)
    for (std::size_t j = 0; j < N; ++j) {
      double rebuilt = 0;
      for (std::size_t k = 0; k < modes; ++k)
        rebuilt += (d.from_modes[i * modes + k] * d.A[k] * d.to_modes[k * N + j]).real();
      const double error = std::abs(rebuilt - system.A[i * N + j]);
      if (error > d.residual || std::isnan(error)) d.residual = error;
    }
  return d;
}

}  // namespace kindred::ssm
