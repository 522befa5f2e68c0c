// The seam for matrix products. oneDNN's products are split here into blocks of rows or of the
// batch that do not depend on the thread count, each computed by one thread: results are the same
// bit for bit with one thread and with many, and small products of a batch do not pay for a
// parallel region each. OpenBLAS is used the same way, held at one thread.
#include "autodiff/ops/gemm.h"

#include <cblas.h>

#include <bit>
#include <cstring>
#include <sstream>

#include "autodiff/one_thread.h"
#include "autodiff/ops/gemm_bf16.h"
#include "autodiff/ops/gemv.h"
#include "autodiff/ops/tiles.h"
#include "autodiff/parallel.h"

#ifdef KINDRED_ONEDNN
#include <oneapi/dnnl/dnnl.hpp>

#include <unordered_map>
#endif

namespace kindred {

namespace {

GemmPrecision g_precision = GemmPrecision::f32;
GemmRecorder* g_recorder = nullptr;

template <class T>
void blas_gemm(const Gemm& g) {
  const auto ta = g.transpose_a ? CblasTrans : CblasNoTrans;
  const auto tb = g.transpose_b ? CblasTrans : CblasNoTrans;
  const auto m = static_cast<int>(g.m), n = static_cast<int>(g.n), k = static_cast<int>(g.k);
  const T beta = g.accumulate ? T(1) : T(0);
  for (int64_t i = 0; i < g.batch; ++i) {
    const T* a = static_cast<const T*>(g.a) + i * g.stride_a;
    const T* b = static_cast<const T*>(g.b) + i * g.stride_b;
    T* c = static_cast<T*>(g.c) + i * g.stride_c;
    if constexpr (std::is_same_v<T, float>) {
      cblas_sgemm(CblasRowMajor, ta, tb, m, n, k, 1, a, static_cast<int>(g.lda), b,
                  static_cast<int>(g.ldb), beta, c, static_cast<int>(g.ldc));
    } else {
      cblas_dgemm(CblasRowMajor, ta, tb, m, n, k, 1, a, static_cast<int>(g.lda), b,
                  static_cast<int>(g.ldb), beta, c, static_cast<int>(g.ldc));
    }
  }
}

#ifdef KINDRED_ONEDNN

using dnnl::memory;

dnnl::engine& engine() {
  static dnnl::engine e(dnnl::engine::kind::cpu, 0);
  return e;
}
dnnl::stream& stream() {
  thread_local dnnl::stream s(engine());
  return s;
}

struct Key {
  int64_t m, n, k, lda, ldb, ldc, batch, sa, sb, sc;
  int64_t flags;
  bool operator==(const Key&) const = default;
};
struct KeyHash {
  std::size_t operator()(const Key& key) const {
    uint64_t h = 1469598103934665603ull;
    for (int64_t v : std::bit_cast<std::array<int64_t, 11>>(key))
      h = (h ^ static_cast<uint64_t>(v)) * 1099511628211ull;
    return h;
  }
};

struct Primitive {
  dnnl::matmul primitive;
  memory a, b, c, scratch;
};

memory::desc matrix(int64_t batch, int64_t rows, int64_t cols, int64_t ld, bool transposed,
                    int64_t stride, memory::data_type type) {
  const int64_t row_step = transposed ? 1 : ld, col_step = transposed ? ld : 1;
  if (batch == 1) return {{rows, cols}, type, memory::dims{row_step, col_step}};
  return {{batch, rows, cols}, type, memory::dims{stride, row_step, col_step}};
}

/// One-thread primitives, one cache a thread: primitives are not executed by two threads at once.
Primitive& primitive_for(const Gemm& g, bool bf16) {
  thread_local std::unordered_map<Key, Primitive, KeyHash> cache;
  const Key key{g.m,
                g.n,
                g.k,
                g.lda,
                g.ldb,
                g.ldc,
                g.batch,
                g.stride_a,
                g.stride_b,
                g.stride_c,
                g.transpose_a | g.transpose_b << 1 | g.accumulate << 2 | bf16 << 3};
  auto [it, fresh] = cache.try_emplace(key);
  if (!fresh) return it->second;
  const auto in = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const auto a = matrix(g.batch, g.m, g.k, g.lda, g.transpose_a, g.stride_a, in);
  // A shared b: batch stride 0 is written as a batch of size 1, which oneDNN broadcasts.
  const auto b = matrix(g.stride_b ? g.batch : 1, g.k, g.n, g.ldb, g.transpose_b, g.stride_b, in);
  const auto c = matrix(g.batch, g.m, g.n, g.ldc, false, g.stride_c, memory::data_type::f32);
  const auto b_full = g.batch > 1 && !g.stride_b
                          ? memory::desc({1, g.k, g.n}, in,
                                         memory::dims{g.k * g.n, g.transpose_b ? 1 : g.ldb,
                                                      g.transpose_b ? g.ldb : 1})
                          : b;
  dnnl::primitive_attr attr;
  if (g.accumulate) {
    dnnl::post_ops ops;
    ops.append_sum(1.f);
    attr.set_post_ops(ops);
  }
  const dnnl::matmul::primitive_desc desc(dnnl::matmul::desc(a, b_full, c), attr, engine());
  Primitive& p = it->second;
  p.primitive = dnnl::matmul(desc);
  p.a = memory(desc.src_desc(), engine(), DNNL_MEMORY_NONE);
  p.b = memory(desc.weights_desc(), engine(), DNNL_MEMORY_NONE);
  p.c = memory(desc.dst_desc(), engine(), DNNL_MEMORY_NONE);
  return p;
}

void onednn_block(const Gemm& g, bool bf16) {
  if (g.batch > 1 &&
      g.stride_a == 0) {  // one matrix times a batch: oneDNN broadcasts only the other way
    const std::size_t item = bf16 ? 2 : 4;
    for (int64_t i = 0; i < g.batch; ++i) {
      Gemm one = g;
      one.batch = 1;
      one.b = static_cast<const std::byte*>(g.b) + static_cast<std::size_t>(i * g.stride_b) * item;
      one.c = static_cast<float*>(g.c) + i * g.stride_c;
      onednn_block(one, bf16);
    }
    return;
  }
  Primitive& p = primitive_for(g, bf16);
  p.a.set_data_handle(const_cast<void*>(g.a));
  p.b.set_data_handle(const_cast<void*>(g.b));
  p.c.set_data_handle(g.c);
  p.primitive.execute(stream(),
                      {{DNNL_ARG_SRC, p.a}, {DNNL_ARG_WEIGHTS, p.b}, {DNNL_ARG_DST, p.c}});
}

/// Rounds to bfloat16, to nearest even; NaN stays NaN.
Tensor to_bf16(const void* from, int64_t n) {
  Tensor t = Tensor::empty({(n + 1) / 2}, DType::i32);
  auto* to = static_cast<uint16_t*>(t.mutable_raw());
  const auto* bits = static_cast<const uint32_t*>(from);
  parallel_for(n, kGrain, [=](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const uint32_t rounded = (bits[i] + 0x7fffu + (bits[i] >> 16 & 1u)) >> 16,
                     quiet = bits[i] >> 16 | 0x40u;
      to[i] = static_cast<uint16_t>((bits[i] & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
    }
  });
  return t;
}

/// b [n, k] -> [k, n]. oneDNN packs a transposed b inside every block of rows; once for all of them
/// is cheaper.
Tensor transposed(const float* b, int64_t n, int64_t k, int64_t ldb) {
  Tensor t = Tensor::empty({k, n});
  float* to = t.mutable_data<float>();
  constexpr int64_t W = kLanes<float>;
  parallel_for((n + W - 1) / W, std::max<int64_t>(1, kGrain / (W * k)),
               [=](int64_t first, int64_t last) {
                 for (int64_t j = first * W; j < std::min(n, last * W); j += W) {
                   const int64_t whole = j + W <= n ? k / W * W : 0;
                   if (whole > 0) tile_transpose(W, whole, b + j * ldb, ldb, to + j, n);
                   for (int64_t r = j; r < std::min(n, j + W); ++r)
                     for (int64_t p = whole; p < k; ++p) to[p * n + r] = b[r * ldb + p];
                 }
               });
  return t;
}

#endif

/// Our own kernel, unless the processor has the far faster AMX, which oneDNN knows how to use.
bool own_bf16(const Gemm& g) {
#ifdef KINDRED_ONEDNN
  static const bool amx = dnnl::get_effective_cpu_isa() >= dnnl::cpu_isa::avx512_core_amx;
#else
  constexpr bool amx = false;
#endif
  return gemm_bf16_available() && !amx && g.batch == 1;
}

template <class F>
void in_one_thread_blocks(const Gemm& g, std::size_t item_a, std::size_t item_c, F&& block) {
  const double work = static_cast<double>(g.batch) * static_cast<double>(g.m) *
                      static_cast<double>(g.n) * static_cast<double>(g.k);
  if (work < kSmallProduct) {
    block(g);
    return;
  }
  if (g.batch > 1) {
    const int64_t blocks = std::min<int64_t>(g.batch, 16);
    const int64_t each = (g.batch + blocks - 1) / blocks;
    parallel_for(g.batch, each, [&](int64_t b, int64_t e) {
      Gemm part = g;
      part.batch = e - b;
      part.a =
          static_cast<const std::byte*>(g.a) + static_cast<std::size_t>(b * g.stride_a) * item_a;
      part.b =
          static_cast<const std::byte*>(g.b) + static_cast<std::size_t>(b * g.stride_b) * item_a;
      part.c = static_cast<std::byte*>(g.c) + static_cast<std::size_t>(b * g.stride_c) * item_c;
      block(part);
    });
    return;
  }
  // Blocks of the longer side of c, in multiples of 32. Few of them: each one packs its operands
  // for itself, so with 16 blocks a product takes up to a tenth longer than with 4.
  const bool by_rows = g.m >= g.n;
  const int64_t side = by_rows ? g.m : g.n, blocks = work < 1e9 ? 4 : 8;
  const int64_t each = std::max<int64_t>(64, ((side + blocks - 1) / blocks + 31) / 32 * 32);
  parallel_for(side, each, [&](int64_t b, int64_t e) {
    Gemm part = g;
    if (by_rows) {
      part.m = e - b;
      part.a = static_cast<const std::byte*>(g.a) +
               static_cast<std::size_t>(g.transpose_a ? b : b * g.lda) * item_a;
      part.c = static_cast<std::byte*>(g.c) + static_cast<std::size_t>(b * g.ldc) * item_c;
    } else {
      part.n = e - b;
      part.b = static_cast<const std::byte*>(g.b) +
               static_cast<std::size_t>(g.transpose_b ? b * g.ldb : b) * item_a;
      part.c = static_cast<std::byte*>(g.c) + static_cast<std::size_t>(b) * item_c;
    }
    block(part);
  });
}

}  // namespace

std::string bf16_obstacle() {
#ifdef KINDRED_ONEDNN
  // Also where DNNL_MAX_CPU_ISA keeps oneDNN from it.
  if (dnnl::get_effective_cpu_isa() < dnnl::cpu_isa::avx512_core_bf16)
    return "this processor has no bf16 instructions";
  return "";
#else
  if (gemm_bf16_available()) return "";
  return "this program was built without oneDNN and for a processor without bf16 instructions";
#endif
}

void set_gemm_precision(GemmPrecision precision) {
  const std::string obstacle = precision == GemmPrecision::bf16 ? bf16_obstacle() : "";
  check(obstacle.empty(), "gemm", obstacle, "; use f32");
  g_precision = precision;
}
GemmPrecision gemm_precision() { return g_precision; }

GemmRecorder::GemmRecorder() {
  check(!g_recorder, "gemm", "another recorder is alive");
  g_recorder = this;
}
GemmRecorder::~GemmRecorder() { g_recorder = nullptr; }

void gemm(const Gemm& g, DType dtype) {
  if (g.m == 0 || g.n == 0 || g.batch == 0) return;
  if (g_recorder) g_recorder->calls_.push_back({g, dtype});
  const std::size_t item = size_of(dtype);
  if (g.k == 0) {
    if (g.accumulate) return;
    for (int64_t i = 0; i < g.batch; ++i)
      for (int64_t r = 0; r < g.m; ++r)
        std::memset(static_cast<std::byte*>(g.c) +
                        static_cast<std::size_t>(i * g.stride_c + r * g.ldc) * item,
                    0, static_cast<std::size_t>(g.n) * item);
    return;
  }
  // In f32 also where products are rounded to bf16: reading W once costs less than rounding it.
  if (is_gemv(g)) return gemv(g, dtype);
  threads();  // set up before the guard reads their number
  const OneThread one;
  if (dtype == DType::f64) {
    in_one_thread_blocks(g, item, item, [](const Gemm& part) { blas_gemm<double>(part); });
    return;
  }
  if (g_precision == GemmPrecision::bf16 && own_bf16(g)) {
    gemm_bf16(g);
    return;
  }
#ifdef KINDRED_ONEDNN
  if (g_precision == GemmPrecision::bf16) {
    const int64_t rows_a = g.transpose_a ? g.k : g.m, rows_b = g.transpose_b ? g.n : g.k;
    const int64_t cols_a = g.transpose_a ? g.m : g.k, cols_b = g.transpose_b ? g.k : g.n;
    const Tensor a = to_bf16(g.a, g.stride_a * (g.batch - 1) + (rows_a - 1) * g.lda + cols_a);
    const Tensor b = to_bf16(g.b, g.stride_b * (g.batch - 1) + (rows_b - 1) * g.ldb + cols_b);
    Gemm half = g;
    half.a = a.raw();
    half.b = b.raw();
    in_one_thread_blocks(half, 2, 4, [](const Gemm& part) { onednn_block(part, true); });
    return;
  }
  Gemm plain = g;
  Tensor b;
  if (g.transpose_b && g.batch == 1 && (g.m >= 512 || (g.m >= 128 && g.k >= 2048))) {
    b = transposed(static_cast<const float*>(g.b), g.n, g.k, g.ldb);
    plain.transpose_b = false;
    plain.b = b.raw();
    plain.ldb = g.n;
  }
  in_one_thread_blocks(plain, item, item, [](const Gemm& part) { onednn_block(part, false); });
#else
  in_one_thread_blocks(g, item, item, [](const Gemm& part) { blas_gemm<float>(part); });
#endif
}

std::string gemm_description() {
  std::ostringstream text;
#ifdef KINDRED_ONEDNN
  const auto* v = dnnl::version();
  text << "oneDNN " << v->major << '.' << v->minor << '.' << v->patch << " (isa 0x" << std::hex
       << static_cast<int>(dnnl::get_effective_cpu_isa()) << std::dec << "), f64 ";
#endif
  text << "OpenBLAS " << openblas_get_config() << " core " << openblas_get_corename();
  return text.str();
}

}  // namespace kindred
