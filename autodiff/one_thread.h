// OneThread: oneDNN and OpenBLAS (LAPACK too) split their work by omp_get_max_threads() at every
// call, whatever openblas_set_num_threads() said before, and round accordingly; oneDNN's primitives
// plan for it when they are made. While a OneThread is alive, OpenMP itself is held at one thread.
// Our own parallel loops name their number of threads.
#pragma once
#include <omp.h>

namespace kindred {

class OneThread {
 public:
  OneThread() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThread() { omp_set_num_threads(before_); }
  OneThread(const OneThread&) = delete;
  OneThread& operator=(const OneThread&) = delete;

 private:
  int before_;
};

}  // namespace kindred
