// Channels are vector lanes. The state moves by x += (A - 1) x + u: slow modes have A near 1, and
// the rounding of A itself, l times over, would be the largest error of all in f32.
#include "ssm/recurrence.h"

#include "autodiff/parallel.h"

namespace kindred::ssm {

namespace {

template <class T>
inline constexpr int64_t kLanes = 64 / static_cast<int64_t>(sizeof(T));

template <class T>
void advance_tile(const T* __restrict modes, const T* __restrict skip, T* __restrict state,
                  const T* __restrict u, T* __restrict y, int64_t M, int64_t n, int64_t H,
                  int64_t width) {
  constexpr int64_t W = kLanes<T>;
  for (int64_t t = 0; t < n; ++t) {
    T input[W] = {}, sum[W];
    for (int64_t w = 0; w < width; ++w) input[w] = u[t * H + w];
    for (int64_t w = 0; w < W; ++w) sum[w] = skip[w] * input[w];
    for (int64_t m = 0; m < M; ++m) {
      const T* __restrict mode = modes + m * 4 * W;
      T* __restrict re = state + m * 2 * W;
      T* __restrict im = re + W;
      for (int64_t w = 0; w < W; ++w) {
        const T p = re[w] + (mode[w] * re[w] - mode[W + w] * im[w] + input[w]);
        const T q = im[w] + (mode[w] * im[w] + mode[W + w] * re[w]);
        re[w] = p;
        im[w] = q;
        sum[w] += mode[2 * W + w] * p - mode[3 * W + w] * q;
      }
    }
    for (int64_t w = 0; w < width; ++w) y[t * H + w] = sum[w];
  }
}

}  // namespace

Recurrence::Recurrence(const Modes& modes, const Tensor& D, int64_t batch)
    : B_(batch), H_(modes.H), M_(modes.M) {
  check(batch >= 1, "ssm", "stepping ", batch, " sequences");
  const DType dtype = D.dtype();
  dispatch_float(dtype, [&]<class T>(T) {
    constexpr int64_t W = kLanes<T>;
    const int64_t tiles = (H_ + W - 1) / W;
    modes_ = Tensor::zeros({tiles, M_, 4, W}, dtype);
    skip_ = Tensor::zeros({tiles, W}, dtype);
    state_ = Tensor::zeros({B_, tiles, M_, 2, W}, dtype);
    for (int64_t h = 0; h < H_; ++h) {
      const int64_t tile = h / W, lane = h % W;
      skip_.mutable_data<T>()[tile * W + lane] = D.data<T>()[h];
      for (int64_t m = 0; m < M_; ++m) {
        const auto at = static_cast<std::size_t>(h * M_ + m);
        const std::complex<double> A = modes.A[at] - 1., out = 2. * modes.out[at];
        T* cell = modes_.mutable_data<T>() + (tile * M_ + m) * 4 * W + lane;
        cell[0] = static_cast<T>(A.real());
        cell[W] = static_cast<T>(A.imag());
        cell[2 * W] = static_cast<T>(out.real());
        cell[3 * W] = static_cast<T>(out.imag());
      }
    }
  });
}

void Recurrence::check_input(const Tensor& u) const {
  check(u.rank() == 3 && u.dim(0) == B_ && u.dim(1) > 0 && u.dim(2) == H_ &&
            u.dtype() == state_.dtype(),
        "ssm", "stepping wants u [", B_, ", n, ", H_, "] of ", name(state_.dtype()), ", got ",
        u.shape(), ' ', name(u.dtype()));
}

Tensor Recurrence::state() const {
  if (fresh_) return {};
  Tensor x = Tensor::empty({2, B_, H_, M_}, state_.dtype());
  dispatch_float(x.dtype(), [&]<class T>(T) {
    constexpr int64_t W = kLanes<T>;
    const int64_t tiles = (H_ + W - 1) / W;
    const T* from = state_.data<T>();
    T* to = x.mutable_data<T>();
    for (int64_t plane = 0; plane < 2; ++plane)
      for (int64_t b = 0; b < B_; ++b)
        for (int64_t h = 0; h < H_; ++h)
          for (int64_t m = 0; m < M_; ++m)
            *to++ = from[(((b * tiles + h / W) * M_ + m) * 2 + plane) * W + h % W];
  });
  return x;
}

void Recurrence::set_state(const Tensor& x) {
  check(x.shape() == Shape{2, B_, H_, M_} && x.dtype() == state_.dtype(), "ssm", "a state ",
        x.shape(), " where [2, ", B_, ", ", H_, ", ", M_, "] is due");
  fresh_ = false;
  dispatch_float(x.dtype(), [&]<class T>(T) {
    constexpr int64_t W = kLanes<T>;
    const int64_t tiles = (H_ + W - 1) / W;
    const T* from = x.data<T>();
    T* to = state_.mutable_data<T>();
    for (int64_t plane = 0; plane < 2; ++plane)
      for (int64_t b = 0; b < B_; ++b)
        for (int64_t h = 0; h < H_; ++h)
          for (int64_t m = 0; m < M_; ++m)
            to[(((b * tiles + h / W) * M_ + m) * 2 + plane) * W + h % W] = *from++;
  });
}

Tensor Recurrence::advance(const Tensor& u) {
  check_input(u);
  fresh_ = false;
  const int64_t n = u.dim(1);
  Tensor y = Tensor::empty(u.shape(), u.dtype());
  dispatch_float(u.dtype(), [&]<class T>(T) {
    constexpr int64_t W = kLanes<T>;
    const int64_t tiles = (H_ + W - 1) / W;
    const T *modes = modes_.data<T>(), *skip = skip_.data<T>(), *in = u.data<T>();
    T *state = state_.mutable_data<T>(), *out = y.mutable_data<T>();
    const int64_t grain = std::max<int64_t>(1, kGrain / (n * M_ * W));
    parallel_for(B_ * tiles, grain, [=, this](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t tile = i % tiles, at = i / tiles * n * H_ + tile * W;
        advance_tile(modes + tile * M_ * 4 * W, skip + tile * W, state + i * M_ * 2 * W, in + at,
                     out + at, M_, n, H_, std::min(W, H_ - tile * W));
      }
    });
  });
  return y;
}

}  // namespace kindred::ssm
