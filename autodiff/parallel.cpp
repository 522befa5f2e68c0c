#include "autodiff/parallel.h"

#if defined(__SSE2__)
#include <pmmintrin.h>
#include <xmmintrin.h>
#endif

namespace kindred {

namespace {
int g_threads = 0;  // 0: not set up yet
void flush_denormals() {
#if defined(__SSE2__)
  _MM_SET_FLUSH_ZERO_MODE(_MM_FLUSH_ZERO_ON);
  _MM_SET_DENORMALS_ZERO_MODE(_MM_DENORMALS_ZERO_ON);
#endif
}
}  // namespace

void set_threads(int threads) {
  g_threads = std::max(1, threads);
  omp_set_num_threads(g_threads);
  flush_denormals();
#pragma omp parallel num_threads(g_threads)
  flush_denormals();
}

int threads() {
  if (g_threads == 0) set_threads(omp_get_max_threads());
  return g_threads;
}

}  // namespace kindred
