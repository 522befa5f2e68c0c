// Convolution through oneDNN 2.6 (the v2 API). Activations stay channels last (nhwc), weights are
// reordered to the blocked layout the library asks for. The batch is cut into pieces of a fixed
// number of images; each is one call of a primitive made for one thread, and the pieces run in
// parallel. So results do not depend on the thread count, which the library alone does not promise.
// Primitives, memory objects and argument lists are cached by shape; all buffers are pool blocks.
#ifdef KINDRED_ONEDNN
#include <array>
#include <bit>
#include <cstddef>
#include <map>
#include <memory>
#include <oneapi/dnnl/dnnl.hpp>
#include <vector>

#include "autodiff/check.h"
#include "autodiff/one_thread.h"
#include "autodiff/ops/conv_kernels.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "autodiff/pool.h"

namespace kindred::conv_onednn {

namespace {

using dnnl::memory;
enum class Pass : int64_t { forward, input_grad, weight_grad };

const dnnl::engine& engine() {
  static const auto* cpu = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *cpu;
}

class PoolBlock {
 public:
  explicit PoolBlock(std::size_t bytes) : bytes_(bytes), data_(pool::allocate(bytes)) {}
  ~PoolBlock() { pool::release(data_, bytes_); }
  PoolBlock(const PoolBlock&) = delete;
  PoolBlock& operator=(const PoolBlock&) = delete;
  std::byte* at(std::size_t offset) const { return static_cast<std::byte*>(data_) + offset; }

 private:
  std::size_t bytes_;
  void* data_;
};
std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

/// Round to nearest even, as the hardware does; NaN stays NaN.
void to_bf16(const float* __restrict x, uint16_t* __restrict y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const uint32_t bits = std::bit_cast<uint32_t>(x[i]);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const uint32_t quiet = bits >> 16 | 0x40u;
    y[i] = static_cast<uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
  }
}

/// A primitive with the argument list that its next execution uses.
struct Bound {
  dnnl::primitive primitive;
  std::vector<memory> memories;
  std::vector<dnnl_exec_arg_t> arguments;

  void add(int index, const memory::desc& desc) {
    memories.emplace_back(desc, engine(), nullptr);
    arguments.push_back({index, memories.back().get()});
  }
  void set(std::size_t position, const void* data) {
    memories[position].set_data_handle(const_cast<void*>(data));
  }
  void run(const dnnl::stream& stream) const {
    const auto status = dnnl_primitive_execute(
        primitive.get(), stream.get(), static_cast<int>(arguments.size()), arguments.data());
    if (status != dnnl_success)
      fail(Fault::numeric, "conv2d", "oneDNN failed with status ", status);
  }
};

/// Everything about one pass at one shape. Positions of the arguments of a piece: 0 the first
/// activation (x; g for input_grad), 1 the second (y, dx; g for weight_grad), 2 weights, 3 scratch,
/// 4 bias.
class Plan {
 public:
  Plan(Pass pass, const ConvShape& s, bool bias, bool bf16);
  /// first: x or g; second: y, dx or (read) g; w: the weights, written by weight_grad.
  void run(const float* first, float* second, const float* bias, float* w);

 private:
  struct Piece {  ///< the primitive for a number of images
    dnnl::primitive primitive;
    memory::desc first, second, weights;
    std::size_t scratch = 0;
    memory::desc scratch_desc;
  };
  struct Worker {  ///< one thread's handles
    dnnl::stream stream{engine()};
    Bound whole, tail;
  };

  Piece make_piece(int64_t images, const memory::desc* weights) const;
  Bound bind(const Piece& piece) const;
  int64_t piece_images() const;
  void convert(const float*& data, std::byte* buffer, int64_t count) const;

  Pass pass_;
  ConvShape s_;
  bool bias_, bf16_;
  int64_t images_, pieces_, tail_;  ///< of a whole piece; number of pieces; images of the last one
  Piece whole_, last_;
  Bound reorder_;
  std::vector<std::unique_ptr<Worker>> workers_;
  int64_t first_size_, second_size_;  ///< elements of an image
};

Plan::Plan(Pass pass, const ConvShape& s, bool bias, bool bf16)
    : pass_(pass), s_(s), bias_(bias), bf16_(bf16) {
  const OneThread one;
  images_ = piece_images();
  pieces_ = (s.batch + images_ - 1) / images_;
  tail_ = s.batch - (pieces_ - 1) * images_;
  whole_ = make_piece(images_, nullptr);
  if (tail_ != images_) last_ = make_piece(tail_, &whole_.weights);
  first_size_ = pass == Pass::input_grad ? s.image_out() : s.image_in();
  second_size_ = pass == Pass::input_grad ? s.image_in() : s.image_out();

  const memory::desc plain({s.out_channels, s.channels, s.kernel_height, s.kernel_width},
                           memory::data_type::f32, memory::format_tag::ohwi);
  const bool out = pass == Pass::weight_grad;
  const memory::desc &from = out ? whole_.weights : plain, &to = out ? plain : whole_.weights;
  reorder_.primitive = dnnl::reorder({engine(), from, engine(), to});
  reorder_.add(DNNL_ARG_FROM, from);
  reorder_.add(DNNL_ARG_TO, to);
}

/// Images of a piece: a power of two, at most 16 pieces (8 for weight_grad, which adds up as many
/// copies of the weights), and enough work in each to make a call worth while.
int64_t Plan::piece_images() const {
  const double image_flops = s_.flops() / static_cast<double>(s_.batch);
  const int64_t pixels = s_.out_height * s_.out_width;
  int64_t n = pass_ == Pass::weight_grad ? std::max((s_.batch + 7) / 8, 300 / pixels)
                                         : (s_.batch + 15) / 16;
  n = std::max(n, static_cast<int64_t>(2e6 / image_flops));
  n = static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(n, 1))));
  return std::min(n, s_.batch);
}

Plan::Piece Plan::make_piece(int64_t images, const memory::desc* weights) const {
  using dnnl::algorithm;
  const auto in = bf16_ ? memory::data_type::bf16 : memory::data_type::f32;
  const auto full = memory::data_type::f32;
  const auto nhwc = memory::format_tag::nhwc;
  const memory::dims xs{images, s_.channels, s_.height, s_.width};
  const memory::dims ys{images, s_.out_channels, s_.out_height, s_.out_width};
  const memory::dims ws{s_.out_channels, s_.channels, s_.kernel_height, s_.kernel_width};
  const memory::dims strides{s_.stride, s_.stride}, before{s_.padding, s_.padding};
  // oneDNN wants padding that accounts for every input pixel: what a stride leaves over is
  // negative.
  const auto behind = [&](int64_t size, int64_t kernel, int64_t out) {
    return (out - 1) * s_.stride + kernel - size - s_.padding;
  };
  const memory::dims after{behind(s_.height, s_.kernel_height, s_.out_height),
                           behind(s_.width, s_.kernel_width, s_.out_width)};
  const auto weights_desc = [&](memory::data_type type) {
    return weights ? *weights : memory::desc(ws, type, memory::format_tag::any);
  };
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);

  Piece piece;
  auto finish = [&](const auto& pd) {
    piece.scratch_desc = pd.scratchpad_desc();
    piece.scratch = piece.scratch_desc.get_size();
  };
  const memory::desc bias_desc =
      bias_ ? memory::desc({s_.out_channels}, full, memory::format_tag::x) : memory::desc();
  const bool forward = pass_ == Pass::forward;
  // The backward descriptors take a forward one as a hint.
  const dnnl::convolution_forward::primitive_desc forward_pd(
      {dnnl::prop_kind::forward_training,
       algorithm::convolution_direct,
       {xs, in, nhwc},
       forward ? weights_desc(in) : memory::desc(ws, in, memory::format_tag::any),
       bias_desc,
       {ys, full, nhwc},
       strides,
       before,
       after},
      attr, engine());
  if (forward) {
    piece.primitive = dnnl::convolution_forward(forward_pd);
    piece.first = forward_pd.src_desc();
    piece.second = forward_pd.dst_desc();
    piece.weights = forward_pd.weights_desc();
    finish(forward_pd);
  } else if (pass_ == Pass::input_grad) {
    const dnnl::convolution_backward_data::primitive_desc pd({algorithm::convolution_direct,
                                                              {xs, full, nhwc},
                                                              weights_desc(in),
                                                              {ys, in, nhwc},
                                                              strides,
                                                              before,
                                                              after},
                                                             attr, engine(), forward_pd);
    piece.primitive = dnnl::convolution_backward_data(pd);
    piece.first = pd.diff_dst_desc();
    piece.second = pd.diff_src_desc();
    piece.weights = pd.weights_desc();
    finish(pd);
  } else {
    const dnnl::convolution_backward_weights::primitive_desc pd({algorithm::convolution_direct,
                                                                 {xs, in, nhwc},
                                                                 weights_desc(full),
                                                                 {ys, in, nhwc},
                                                                 strides,
                                                                 before,
                                                                 after},
                                                                attr, engine(), forward_pd);
    piece.primitive = dnnl::convolution_backward_weights(pd);
    piece.first = pd.src_desc();
    piece.second = pd.diff_dst_desc();
    piece.weights = pd.diff_weights_desc();
    finish(pd);
  }
  return piece;
}

Bound Plan::bind(const Piece& piece) const {
  Bound bound;
  bound.primitive = piece.primitive;
  const int ids[3][3] = {{DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_WEIGHTS},
                         {DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_SRC, DNNL_ARG_WEIGHTS},
                         {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS}};
  const int* id = ids[static_cast<int>(pass_)];
  bound.add(id[0], piece.first);
  bound.add(id[1], piece.second);
  bound.add(id[2], piece.weights);
  bound.add(DNNL_ARG_SCRATCHPAD, piece.scratch_desc);
  if (bias_)
    bound.add(DNNL_ARG_BIAS,
              memory::desc({s_.out_channels}, memory::data_type::f32, memory::format_tag::x));
  return bound;
}

/// In bf16 mode, replaces data by its rounded copy in buffer.
void Plan::convert(const float*& data, std::byte* buffer, int64_t count) const {
  if (!bf16_) return;
  to_bf16(data, reinterpret_cast<uint16_t*>(buffer), count);
  data = reinterpret_cast<const float*>(buffer);
}

void Plan::run(const float* first, float* second, const float* bias, float* w) {
  const auto team = static_cast<std::size_t>(threads());
  if (workers_.size() < team) {
    const OneThread one;
    while (workers_.size() < team) {
      workers_.push_back(std::make_unique<Worker>());
      workers_.back()->whole = bind(whole_);
      if (tail_ != images_) workers_.back()->tail = bind(last_);
    }
  }
  const bool out = pass_ == Pass::weight_grad;
  // One block: blocked weights (weight_grad: one for each piece), then each worker's buffers.
  const std::size_t weights = aligned(whole_.weights.get_size());
  const std::size_t scratch = aligned(std::max(whole_.scratch, last_.scratch));
  const std::size_t first_half = bf16_ ? aligned(sizeof(uint16_t) * images_ * first_size_) : 0;
  const std::size_t second_half =
      bf16_ && out ? aligned(sizeof(uint16_t) * images_ * second_size_) : 0;
  const std::size_t own = scratch + first_half + second_half;
  const std::size_t shared = weights * (out ? pieces_ : 1);
  const PoolBlock block(shared + team * own);

  dnnl::stream& stream = workers_[0]->stream;
  if (!out) {
    reorder_.set(0, w);
    reorder_.set(1, block.at(0));
    reorder_.run(stream);
  }
  for (std::size_t t = 0; t < team; ++t)
    for (Bound* bound : {&workers_[t]->whole, &workers_[t]->tail}) {
      if (bound->memories.empty()) continue;
      if (!out) bound->set(2, block.at(0));
      bound->set(3, block.at(shared + t * own));
      if (bias_) bound->set(4, bias);
    }
  parallel_for(pieces_, 1, [&](int64_t begin, int64_t end) {
    const int thread = omp_get_thread_num();
    Worker& worker = *workers_[thread];
    std::byte* buffers = block.at(shared + thread * own + scratch);
    for (int64_t p = begin; p < end; ++p) {
      const bool tail = p == pieces_ - 1 && tail_ != images_;
      const int64_t images = tail ? tail_ : images_;
      Bound& bound = tail ? worker.tail : worker.whole;
      const float* a = first + p * images_ * first_size_;
      const float* b = second + p * images_ * second_size_;
      convert(a, buffers, images * first_size_);
      if (out) convert(b, buffers + first_half, images * second_size_);
      bound.set(0, a);
      bound.set(1, b);
      if (out) bound.set(2, block.at(p * weights));
      bound.run(worker.stream);
    }
  });
  if (!out) return;
  float* __restrict sum = reinterpret_cast<float*>(block.at(0));
  const int64_t step = static_cast<int64_t>(weights / sizeof(float));
  parallel_for(static_cast<int64_t>(whole_.weights.get_size() / sizeof(float)), 8192,
               [&](int64_t begin, int64_t end) {
                 for (int64_t p = 1; p < pieces_; ++p) {
                   const float* __restrict term = sum + p * step;
                   for (int64_t i = begin; i < end; ++i) sum[i] += term[i];
                 }
               });
  reorder_.set(0, sum);
  reorder_.set(1, w);
  reorder_.run(stream);
}

/// oneDNN 2.6.3 computes wrong values for this pass of a 1x1 bf16 convolution over an odd number of
/// channels (an unpaired last one meets what lies behind it).
bool wrong_in_bf16(Pass pass, const ConvShape& s) {
  return pass == Pass::input_grad && s.kernel_height == 1 && s.kernel_width == 1 &&
         s.out_channels % 2 != 0;
}

/// The cached plan; f32 where this processor or the library cannot do the pass in bf16.
Plan& plan(Pass pass, const ConvShape& s, bool bias) {
  const bool bf16 = gemm_precision() == GemmPrecision::bf16 && !wrong_in_bf16(pass, s);
  using Key = std::array<int64_t, 14>;
  static auto* plans = new std::map<Key, std::unique_ptr<Plan>>;
  const Key key{static_cast<int64_t>(pass),
                bias,
                bf16,
                s.batch,
                s.height,
                s.width,
                s.channels,
                s.out_height,
                s.out_width,
                s.out_channels,
                s.kernel_height,
                s.kernel_width,
                s.stride,
                s.padding};
  std::unique_ptr<Plan>& entry = (*plans)[key];
  if (entry) return *entry;
  if (bf16) {
    try {
      entry = std::make_unique<Plan>(pass, s, bias, true);
      return *entry;
    } catch (const dnnl::error&) {
    }
  }
  try {
    entry = std::make_unique<Plan>(pass, s, bias, false);
  } catch (const dnnl::error& error) {
    fail(Fault::numeric, "conv2d", "oneDNN cannot build the convolution: ", error.what());
  }
  return *entry;
}

}  // namespace

void forward(const ConvShape& s, const float* x, const float* w, const float* bias, float* y) {
  plan(Pass::forward, s, bias != nullptr).run(x, y, bias, const_cast<float*>(w));
}
void input_grad(const ConvShape& s, const float* g, const float* w, float* dx) {
  plan(Pass::input_grad, s, false).run(g, dx, nullptr, const_cast<float*>(w));
}
void weight_grad(const ConvShape& s, const float* x, const float* g, float* dw) {
  plan(Pass::weight_grad, s, false).run(x, const_cast<float*>(g), nullptr, dw);
}

}  // namespace kindred::conv_onednn
#endif
