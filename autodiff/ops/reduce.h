// Reductions. Sums run over fixed-size chunks, so results do not depend on the thread count.
#pragma once
#include "autodiff/tensor.h"

namespace kindred {

/// Sum of all elements, shape [].
Tensor sum(const Tensor& x);
/// Sum over dimension dim; keep = true leaves it with size 1.
Tensor sum(const Tensor& x, int dim, bool keep = false);
Tensor mean(const Tensor& x);
Tensor mean(const Tensor& x, int dim, bool keep = false);
/// Largest value along the last dimension, kept with size 1. No derivative (a constant): used to
/// shift exponentials, where its derivative cancels.
Tensor row_max(const Tensor& x);
/// log sum exp over the last dimension, kept with size 1; finite for any finite input. A row of
/// -infinity gives -infinity.
Tensor logsumexp(const Tensor& x);

}  // namespace kindred
