#include "diffusion/coupling.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "autodiff/choice.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/index.h"
#include "autodiff/ops/layout.h"
#include "autodiff/ops/reduce.h"

namespace kindred::diffusion {

namespace {
constexpr const char* kWhere = "objective flow";
/// Of exp(5 w): an optimizer moves w by about the learning rate a step, and numbers that hardly
/// vary need scales of 100 and more.
constexpr double kScaleRate = 5;

/// Column index[d] of x [B, D] as column d.
Tensor columns(const Tensor& x, const Tensor& index) {
  return transpose(take(transpose(x), index));
}
Tensor inverted(const Tensor& index) {
  Tensor inverse = Tensor::empty(index.shape(), DType::i32);
  for (int64_t d = 0; d < index.numel(); ++d)
    inverse.mutable_data<int32_t>()[index.data<int32_t>()[d]] = static_cast<int32_t>(d);
  return inverse;
}
/// The parts of h [B, D], the first with `first` columns.
std::pair<Tensor, Tensor> parts_of(const Tensor& h, int64_t first) {
  return {slice(h, 1, 0, first), slice(h, 1, first, h.dim(1) - first)};
}
harness::Context of_layer(const harness::Context& context, int64_t layer) {
  harness::Context own = context;
  own.dropout = context.dropout.split(static_cast<uint64_t>(layer));
  return own;
}
}  // namespace

CouplingFlow CouplingFlow::make(int64_t height, int64_t width, int64_t channels,
                                const CouplingConfig& config, const NetworkMaker& network,
                                const Rng& rng) {
  const int64_t D = height * width * channels;
  check(D >= 2, kWhere, "a coupling needs at least 2 dimensions, the data have ", D);
  check(config.layers >= 2, kWhere, "layers = ", config.layers,
        ": with fewer than 2 one part of the dimensions is never changed");
  check(config.clamp > 0, kWhere, "clamp = ", config.clamp, " must be positive");
  const auto partition = choose<Partition>(config.partition,
                                           {{"checkerboard", Partition::checkerboard},
                                            {"alternating", Partition::alternating},
                                            {"halves", Partition::halves},
                                            {"shuffled", Partition::shuffled}},
                                           "objective.partition");
  enum class Layout { automatic, split, masked };
  const auto layout = choose<Layout>(
      config.layout,
      {{"auto", Layout::automatic}, {"split", Layout::split}, {"masked", Layout::masked}},
      "objective.layout");
  CouplingFlow flow;
  flow.height_ = height;
  flow.width_ = width;
  flow.channels_ = channels;
  flow.clamp_ = config.clamp;
  flow.affine_ =
      choose<bool>(config.coupling, {{"additive", false}, {"affine", true}}, "objective.coupling");

  const auto in_first = [&](int64_t d) {
    const int64_t pixel = d / channels;
    if (partition == Partition::checkerboard) return (pixel / width + pixel % width) % 2 == 0;
    return partition == Partition::alternating ? d % 2 == 0 : d < (D + 1) / 2;
  };
  const int64_t orders = partition == Partition::shuffled ? config.layers : 1;
  flow.order_ = {Tensor::empty({orders, D}, DType::i32), nn::Role::buffer};
  for (int64_t l = 0; l < orders; ++l) {
    int32_t* order = flow.order_.value.mutable_data<int32_t>() + l * D;
    std::iota(order, order + D, 0);
    const Rng shuffle = rng.split("order").split(static_cast<uint64_t>(l));
    if (partition == Partition::shuffled)
      for (int64_t i = D - 1; i > 0; --i)
        std::swap(order[i], order[shuffle.below(static_cast<uint64_t>(i + 1), i)]);
    else
      std::stable_partition(order, order + D, in_first);
  }
  if (partition == Partition::shuffled)
    flow.first_ = (D + 1) / 2;
  else
    for (int64_t d = 0; d < D; ++d) flow.first_ += in_first(d);
  check(flow.first_ < D, kWhere, "partition ", config.partition, " leaves one part empty");

  const int64_t longer = std::max(flow.first_, D - flow.first_), outputs = flow.affine_ ? 2 : 1;
  const harness::BackboneSpec split{
      .in_channels = 1, .out_channels = outputs, .length = longer, .height = 1, .width = longer};
  const harness::BackboneSpec whole{.in_channels = channels,
                                    .out_channels = outputs * channels,
                                    .length = height * width,
                                    .height = height,
                                    .width = width};
  const Rng networks = rng.split("network");
  flow.masked_ = layout == Layout::masked;
  if (layout == Layout::automatic && height > 1) {
    try {
      network(split, networks);
    } catch (const Error&) {  // it may take images: if not, it says so below
      flow.masked_ = true;
    }
  }
  for (int64_t l = 0; l < config.layers; ++l)
    flow.networks_.push_back(
        network(flow.masked_ ? whole : split, networks.split(static_cast<uint64_t>(l))));
  if (config.scale) flow.scale_ = {Tensor::zeros({D}).set_requires_grad(), nn::Role::norm};
  return flow;
}

Tensor CouplingFlow::order(int64_t layer) const {
  return Tensor::view(order_.value, shuffled() ? layer * dims() : 0, {dims()});
}

Tensor CouplingFlow::kept(int64_t layer, DType dtype) const {
  const bool second = !shuffled() && layer % 2 == 1;
  const Tensor index = order(layer);
  Tensor mask = Tensor::empty({dims()}, dtype);
  dispatch_float(dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < dims(); ++i)
      mask.mutable_data<T>()[index.data<int32_t>()[i]] = (i < first_) != second ? T(1) : T(0);
  });
  return mask;
}

CouplingFlow::Shift CouplingFlow::shift_of(const Tensor& out, int64_t values) const {
  const int64_t B = out.dim(0), D = out.numel() / (B * (affine_ ? 2 : 1));
  if (!affine_) return {{}, reshape(out, {B, D})};
  const Tensor r = reshape(slice(out, 2, 0, values), {B, D});
  return {scale(tanh(scale(r, 1 / clamp_)), clamp_),
          reshape(slice(out, 2, values, values), {B, D})};
}

CouplingFlow::Shift CouplingFlow::masked_shift(int64_t layer, const Tensor& h,
                                               const harness::Context& context) const {
  const Tensor mask = kept(layer, h.dtype()), changed = affine(mask, -1, 1);
  const Tensor seen = reshape(mul(h, mask), {h.dim(0), height_ * width_, channels_});
  Shift shift = shift_of(networks_[layer].forward(seen, of_layer(context, layer)), channels_);
  if (affine_) shift.s = mul(shift.s, changed);
  shift.t = mul(shift.t, changed);
  return shift;
}

CouplingFlow::Shift CouplingFlow::split_shift(int64_t layer, const Tensor& kept, int64_t changed,
                                              const harness::Context& context) const {
  const int64_t B = kept.dim(0), length = std::max(first_, dims() - first_);
  const Tensor seen = kept.dim(1) < length ? pad(kept, 1, 0, length - kept.dim(1)) : kept;
  const Tensor out =
      networks_[layer].forward(reshape(seen, {B, length, 1}), of_layer(context, layer));
  return shift_of(changed < length ? slice(out, 1, 0, changed) : out, 1);
}

CouplingFlow::Mapped CouplingFlow::forward(const Tensor& x, const harness::Context& context) const {
  check(x.rank() == 2 && x.dim(1) == dims(), kWhere, "x ", x.shape(), " is not [B, ", dims(), "]");
  const int64_t B = x.dim(0);
  Tensor log_det = Tensor::zeros({B}, x.dtype()), z;
  const auto move = [&](const Tensor& b, const Shift& shift) {
    if (!affine_) return add(b, shift.t);
    log_det = add(log_det, sum(shift.s, 1));
    return add(mul(b, exp(shift.s)), shift.t);
  };
  if (masked_) {
    z = x;
    for (int64_t l = 0; l < layers(); ++l) z = move(z, masked_shift(l, z, context));
  } else {
    auto [a, b] = parts_of(columns(x, order(0)), first_);
    for (int64_t l = 0; l < layers(); ++l) {
      if (shuffled() && l > 0)
        std::tie(a, b) = parts_of(columns(concat({a, b}, 1), order(l)), first_);
      const bool second = !shuffled() && l % 2 == 1;
      Tensor& from = second ? b : a;
      Tensor& to = second ? a : b;
      to = move(to, split_shift(l, from, to.dim(1), context));
    }
    z = concat({a, b}, 1);
  }
  if (!scale_.value.defined()) return {z, log_det};
  const Tensor log_scale = scale(scale_.value, kScaleRate);
  return {mul(z, exp(log_scale)), add(log_det, sum(log_scale))};
}

Tensor CouplingFlow::inverse(const Tensor& z) const {
  check(z.rank() == 2 && z.dim(1) == dims(), kWhere, "z ", z.shape(), " is not [B, ", dims(), "]");
  const harness::Context context;
  const auto back = [&](const Tensor& b, const Shift& shift) {
    const Tensor moved = sub(b, shift.t);
    return affine_ ? mul(moved, exp(neg(shift.s))) : moved;
  };
  Tensor h = scale_.value.defined() ? mul(z, exp(scale(scale_.value, -kScaleRate))) : z;
  if (masked_) {
    for (int64_t l = layers() - 1; l >= 0; --l) h = back(h, masked_shift(l, h, context));
    return h;
  }
  auto [a, b] = parts_of(h, first_);
  for (int64_t l = layers() - 1; l >= 0; --l) {
    const bool second = !shuffled() && l % 2 == 1;
    const Tensor& from = second ? b : a;
    Tensor& to = second ? a : b;
    to = back(to, split_shift(l, from, to.dim(1), context));
    if (shuffled() && l > 0)
      std::tie(a, b) = parts_of(columns(concat({a, b}, 1), inverted(order(l))), first_);
  }
  return columns(concat({a, b}, 1), inverted(order(0)));
}

void CouplingFlow::parameters(const std::string& prefix, std::vector<nn::NamedParameter>& out) {
  for (int64_t l = 0; l < layers(); ++l)
    networks_[l].parameters(prefix + ".networks." + std::to_string(l), out);
  if (scale_.value.defined()) out.push_back({prefix + ".scale", &scale_});
  out.push_back({prefix + ".order", &order_});
}

}  // namespace kindred::diffusion
