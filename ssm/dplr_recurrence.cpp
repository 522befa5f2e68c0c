// Channels are vector lanes. Of each mode the cell holds G dt lambda, G dt B, 2 C and, for each r,
// G dt P_r, 2 conj(P_r) and 2 conj(P_r) G dt lambda.
#include "ssm/dplr_recurrence.h"

#include <algorithm>

#include "autodiff/parallel.h"

namespace kindred::ssm {

namespace {

using Complex = std::complex<double>;

template <class T>
inline constexpr int64_t kLanes = 64 / static_cast<int64_t>(sizeof(T));
constexpr int64_t kMostRank = 2;

template <class T>
void advance_tile(const T* __restrict modes, const T* __restrict channels, T* __restrict state,
                  const T* __restrict u, T* __restrict y, int64_t M, int64_t rank, int64_t n,
                  int64_t H, int64_t width) {
  constexpr int64_t W = kLanes<T>;
  const int64_t cell = (3 + 3 * rank) * 2 * W;
  const T *skip = channels, *beta = skip + W, *kappa = beta + rank * W,
          *inverse = kappa + rank * rank * W;
  for (int64_t l = 0; l < n; ++l) {
    T input[W] = {}, sum[W], s[kMostRank][W] = {}, t[kMostRank][W] = {};
    for (int64_t w = 0; w < width; ++w) input[w] = u[l * H + w];
    for (int64_t m = 0; m < M; ++m) {
      const T *re = state + m * 2 * W, *im = re + W;
      for (int64_t r = 0; r < rank; ++r) {
        const T* p = modes + m * cell + (4 + 3 * r) * 2 * W;
        const T* q = p + 2 * W;
        for (int64_t w = 0; w < W; ++w) {
          s[r][w] += p[w] * re[w] - p[W + w] * im[w];
          t[r][w] += q[w] * re[w] - q[W + w] * im[w];
        }
      }
    }
    T seen[kMostRank][W], pull[kMostRank][W];
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t w = 0; w < W; ++w) {
        seen[r][w] = t[r][w] + beta[r * W + w] * input[w];
        for (int64_t k = 0; k < rank; ++k) seen[r][w] -= kappa[(r * rank + k) * W + w] * s[k][w];
      }
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t w = 0; w < W; ++w) {
        T half = 0;
        for (int64_t k = 0; k < rank; ++k) half += inverse[(r * rank + k) * W + w] * seen[k][w];
        pull[r][w] = s[r][w] + half / 2;
      }
    for (int64_t w = 0; w < W; ++w) sum[w] = skip[w] * input[w];
    for (int64_t m = 0; m < M; ++m) {
      const T* __restrict a = modes + m * cell;
      const T* __restrict b = a + 2 * W;
      const T* __restrict c = b + 2 * W;
      T* __restrict re = state + m * 2 * W;
      T* __restrict im = re + W;
      T p[W], q[W];
      for (int64_t w = 0; w < W; ++w) {
        p[w] = a[w] * re[w] - a[W + w] * im[w] + b[w] * input[w];
        q[w] = a[w] * im[w] + a[W + w] * re[w] + b[W + w] * input[w];
      }
      for (int64_t r = 0; r < rank; ++r) {
        const T* __restrict g = modes + m * cell + (3 + 3 * r) * 2 * W;
        for (int64_t w = 0; w < W; ++w) {
          p[w] -= g[w] * pull[r][w];
          q[w] -= g[W + w] * pull[r][w];
        }
      }
      for (int64_t w = 0; w < W; ++w) {
        re[w] += p[w];
        im[w] += q[w];
        sum[w] += c[w] * re[w] - c[W + w] * im[w];
      }
    }
    for (int64_t w = 0; w < width; ++w) y[l * H + w] = sum[w];
  }
}

/// Constants of channel h: per mode cells, then beta, kappa and the inverse of 1 + kappa/2.
struct Constants {
  std::vector<Complex> cells;  ///< [M, 3 + 3 rank]
  std::vector<double> beta, kappa, inverse;
  Constants(const DplrModes& d, int64_t h) {
    const auto rank = static_cast<std::size_t>(d.rank), M = static_cast<std::size_t>(d.M);
    const auto first = static_cast<std::size_t>(h * d.M), all = static_cast<std::size_t>(d.H * d.M);
    beta.assign(rank, 0);
    kappa.assign(rank * rank, 0);
    for (std::size_t m = 0; m < M; ++m) {
      const std::size_t at = first + m;
      const Complex G = d.dt[at] / (1. - d.dt[at] * d.lambda[at] / 2.), a = G * d.lambda[at];
      cells.insert(cells.end(), {a, G * d.B[at], 2. * d.C[at]});
      for (std::size_t r = 0; r < rank; ++r) {
        const Complex P = d.P[r * all + at];
        cells.insert(cells.end(), {G * P, 2. * std::conj(P), 2. * std::conj(P) * a});
        beta[r] += 2 * (std::conj(P) * G * d.B[at]).real();
        for (std::size_t k = 0; k < rank; ++k)
          kappa[r * rank + k] += 2 * (std::conj(P) * G * d.P[k * all + at]).real();
      }
    }
    const double a = 1 + kappa[0] / 2;
    if (rank == 1) {
      inverse = {1 / a};
      return;
    }
    const double b = kappa[1] / 2, c = kappa[2] / 2, e = 1 + kappa[3] / 2, det = a * e - b * c;
    inverse = {e / det, -b / det, -c / det, a / det};
  }
};

}  // namespace

DplrRecurrence::DplrRecurrence(const DplrModes& modes, const Tensor& D, int64_t batch)
    : B_(batch), H_(modes.H), M_(modes.M), rank_(modes.rank) {
  check(batch >= 1, "ssm", "stepping ", batch, " sequences");
  check(rank_ >= 1 && rank_ <= kMostRank, "ssm", "a low-rank term of rank ", rank_);
  const DType dtype = D.dtype();
  dispatch_float(dtype, [&]<class T>(T) {
    constexpr int64_t W = kLanes<T>;
    const int64_t tiles = (H_ + W - 1) / W, cells = 3 + 3 * rank_,
                  rows = 1 + rank_ + 2 * rank_ * rank_;
    modes_ = Tensor::zeros({tiles, M_, cells, 2, W}, dtype);
    channels_ = Tensor::zeros({tiles, rows, W}, dtype);
    state_ = Tensor::zeros({B_, tiles, M_, 2, W}, dtype);
    for (int64_t h = 0; h < H_; ++h) {
      const Constants own(modes, h);
      const int64_t tile = h / W, lane = h % W;
      T* channel = channels_.mutable_data<T>() + tile * rows * W + lane;
      const auto put = [&](double value) {
        *channel = static_cast<T>(value);
        channel += W;
      };
      put(D.item(h));
      for (const std::vector<double>* list : {&own.beta, &own.kappa, &own.inverse})
        for (const double value : *list) put(value);
      T* cell = modes_.mutable_data<T>() + tile * M_ * cells * 2 * W + lane;
      for (const Complex& z : own.cells) {
        cell[0] = static_cast<T>(z.real());
        cell[W] = static_cast<T>(z.imag());
        cell += 2 * W;
      }
    }
  });
}

Tensor DplrRecurrence::advance(const Tensor& u) {
  const int64_t n = u.dim(1);
  Tensor y = Tensor::empty(u.shape(), u.dtype());
  dispatch_float(u.dtype(), [&]<class T>(T) {
    constexpr int64_t W = kLanes<T>;
    const int64_t tiles = (H_ + W - 1) / W;
    const int64_t cells = modes_.numel() / tiles, rows = channels_.numel() / tiles;
    const T *modes = modes_.data<T>(), *channels = channels_.data<T>(), *in = u.data<T>();
    T *state = state_.mutable_data<T>(), *out = y.mutable_data<T>();
    const int64_t grain = std::max<int64_t>(1, kGrain / (n * M_ * W * 4));
    parallel_for(B_ * tiles, grain, [=, this](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t tile = i % tiles, at = i / tiles * n * H_ + tile * W;
        advance_tile(modes + tile * cells, channels + tile * rows, state + i * M_ * 2 * W, in + at,
                     out + at, M_, rank_, n, H_, std::min(W, H_ - tile * W));
      }
    });
  });
  return y;
}

Tensor DplrRecurrence::state() const {
  Tensor x = Tensor::empty({B_, H_, 2 * M_}, state_.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    constexpr int64_t W = kLanes<T>;
    const int64_t tiles = (H_ + W - 1) / W;
    const T* from = state_.data<T>();
    T* to = x.mutable_data<T>();
    for (int64_t b = 0; b < B_; ++b)
      for (int64_t h = 0; h < H_; ++h)
        for (int64_t plane = 0; plane < 2; ++plane)
          for (int64_t m = 0; m < M_; ++m)
            *to++ = from[(((b * tiles + h / W) * M_ + m) * 2 + plane) * W + h % W];
  });
  return x;
}

void DplrRecurrence::set_state(const Tensor& x) {
  check(x.shape() == Shape{B_, H_, 2 * M_} && x.dtype() == state_.dtype(), "ssm", "a state ",
        x.shape(), " where [", B_, ", ", H_, ", ", 2 * M_, "] is due");
  dispatch_float(x.dtype(), [&]<class T>(T) {
    constexpr int64_t W = kLanes<T>;
    const int64_t tiles = (H_ + W - 1) / W;
    const T* from = x.data<T>();
    T* to = state_.mutable_data<T>();
    for (int64_t b = 0; b < B_; ++b)
      for (int64_t h = 0; h < H_; ++h)
        for (int64_t plane = 0; plane < 2; ++plane)
          for (int64_t m = 0; m < M_; ++m)
            to[(((b * tiles + h / W) * M_ + m) * 2 + plane) * W + h % W] = *from++;
  });
}

}  // namespace kindred::ssm
