#include "ssm/lssl_layer.h"

#include <algorithm>
#include <cmath>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/inverse.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/matmul.h"
#include "ssm/discretise.h"

namespace kindred::ssm {

namespace {

constexpr double kGiB = 1024. * 1024 * 1024;

void check_memory(int64_t H, int64_t N, int64_t L, double limit) {
  const double need = lssl_bytes(H, N, L);
  check(need <= limit * kGiB, "lssl", "the dense kernel of width ", H, ", state ", N, ", length ",
        L, " takes about ", std::round(need / kGiB * 10) / 10,
        " GiB, more than model.memory = ", limit,
        "; take a smaller shape, or s4, which computes the same system in 1/N of the memory");
}

nn::Parameter output_matrix(int64_t H, int64_t N, DType dtype, const Rng& rng) {
  return nn::given(rng.normal({H, N}, dtype), nn::Role::matrix);
}

Tensor identity_matrix(int64_t N) {
  Tensor I = Tensor::zeros({N, N}, DType::f64);
  for (int64_t n = 0; n < N; ++n) I.mutable_data<double>()[n * (N + 1)] = 1;
  return I;
}

}  // namespace

// Rows of the Krylov matrix in double: the last one, the shorter ones it grew from (as large
// together), the product and the concatenation of the last doubling's derivative. Powers of A: one
// a doubling and its derivative.
double lssl_bytes(int64_t width, int64_t state, int64_t length) {
  const auto H = static_cast<double>(width), N = static_cast<double>(state),
             L = static_cast<double>(length);
  return 8 * H * N * (4.5 * L + 3 * N * (std::ceil(std::log2(std::max(2., L))) + 2));
}

void LsslOptions::fit(int64_t channels, int64_t length, bool both_directions) {
  width = channels;
  bidirectional = both_directions;
  check_memory(width, state, std::max<int64_t>(1, length), memory);
}

LsslLayer LsslLayer::make(const Options& o, const Rng& rng, DType dtype) {
  check(o.width >= 1, "ssm", "width ", o.width, " of a layer");
  const int64_t H = o.width, N = o.state;
  const StepRule rule = parse_step_rule(o.disc, "model.disc");
  check(!rule.zoh, "model.disc",
        "lssl is discretised by the generalised bilinear transform, not by zoh; choose bilinear, "
        "backward, forward or gbt:ALPHA");
  const bool learned =
      choose<bool>(o.dynamics, {{"learned", true}, {"fixed", false}}, "model.dynamics");
  const DenseSystem hippo = hippo_matrix(parse_measure(o.init, "model.init"), N);
  const nn::Role role = learned ? nn::Role::dynamics : nn::Role::buffer;

  LsslLayer layer;
  layer.alpha = rule.alpha;
  layer.memory = o.memory;
  layer.log_dt = initial_log_dt({H}, o.dt_min, o.dt_max, rng.split("log_dt"), dtype);
  layer.A = nn::given(Tensor::from(std::span<const double>(hippo.A), {N, N}).to(dtype), role);
  layer.B = nn::given(Tensor::from(std::span<const double>(hippo.B), {N}).to(dtype), role);
  layer.C = output_matrix(H, N, dtype, rng.split("C"));
  if (o.bidirectional) layer.C_reverse = output_matrix(H, N, dtype, rng.split("C_reverse"));
  layer.D = nn::constant({H}, 1, nn::Role::bias, dtype);
  return layer;
}

StepSystem LsslLayer::system(double rate) const {
  const int64_t H = C.value.dim(0), N = C.value.dim(1);
  const Tensor dt = reshape(exp(cast(at_rate(log_dt.value, rate), DType::f64)), {H, 1, 1});
  const Tensor I = identity_matrix(N), dtA = mul(dt, cast(A.value, DType::f64));
  const Tensor solved = inverse(I - scale(dtA, alpha));
  const Tensor input = matmul(solved, reshape(cast(B.value, DType::f64), {N, 1}));
  return {matmul(solved, I + scale(dtA, 1 - alpha)), reshape(mul(dt, input), {H, N}),
          cast(C.value, DType::f64)};
}

Tensor LsslLayer::response(const StepSystem& s, const Tensor& outputs, int64_t length) const {
  const int64_t H = outputs.dim(0), N = outputs.dim(1);
  check_memory(H, N, length, memory);
  Tensor rows = reshape(s.B, {H, 1, N}), power = s.A;  // (A^k B)^T, k < rows; A^rows
  while (rows.dim(1) < length) {
    const int64_t have = rows.dim(1), more = std::min(have, length - have);
    const Tensor from = more < have ? slice(rows, 1, 0, more) : rows;
    rows = concat({rows, matmul(from, power, {.transpose_b = true})}, 1);
    if (2 * have < length) power = matmul(power, power);
  }
  const Tensor k = matmul(rows, reshape(cast(outputs, DType::f64), {H, N, 1}));
  return cast(reshape(k, {H, length}), outputs.dtype());
}

Tensor LsslLayer::kernel(int64_t length, double rate) const {
  return with_skip(response(system(rate), C.value, length), D.value);
}

Tensor LsslLayer::operator()(const Tensor& u, double rate) const {
  check_input(u, D.value.numel());
  const int64_t L = u.dim(1);
  const StepSystem s = system(rate);
  const Tensor reverse = C_reverse ? response(s, C_reverse->value, L) : Tensor();
  return convolve(u, with_skip(response(s, C.value, L), D.value), reverse);
}

Passed LsslLayer::pass(const Tensor& u, const Tensor& before, double rate) const {
  check(!C_reverse, "ssm", "a bidirectional layer has no state to pass on");
  const Tensor y = (*this)(u, rate);
  const StepSystem s = system(rate);
  return {before.defined() ? y + observe(s, before, u.dim(1)) : y, control(s, u, before)};
}

LsslStepping LsslLayer::stepping(int64_t batch) const { return {*this, batch}; }

LsslStepping::LsslStepping(const LsslLayer& layer, int64_t batch)
    : layer_(layer),
      recurrence_(
          [&] {
            check(!layer.C_reverse, "ssm", "a bidirectional layer cannot run step by step");
            const NoGrad off;
            return layer.system();
          }(),
          layer.D.value, batch) {}

Tensor LsslStepping::advance(const Tensor& u) {
  check_input(u, layer_.D.value.numel());
  if (u.dim(1) < kPrefill) return recurrence_.advance(u);
  const NoGrad off;
  const Passed passed = layer_.pass(u, recurrence_.state());
  recurrence_.set_state(passed.after);
  return passed.y;
}

}  // namespace kindred::ssm
