// Recomputation (gradient checkpointing; Griewank and Walther 2000, Chen et al. 2016): what a
// function computes inside is not kept for its derivative but computed again when that is due.
// A stack of n blocks then holds n inputs and the inside of one block, not the insides of all.
#pragma once
#include <functional>

#include "autodiff/tensor.h"

namespace kindred {

/// f(x), recorded as one node that keeps x and f. When grad() arrives there it runs f again and
/// goes on through what that records, so gradients are those of f(x) bit for bit, at the price of a
/// second run (which executed_flops() counts). Works inside itself and to any order.
///
/// f must be pure and hold by value what it needs until then: random streams, settings, tensors.
/// Gradients reach whatever it reads, x or not: parameters, and results computed before. Values of
/// parameters must not change before grad(). A grad() inside f is a usage error. Where nothing is
/// recorded this is f(x).
Tensor recompute(const std::function<Tensor(const Tensor&)>& f, const Tensor& x);

}  // namespace kindred
