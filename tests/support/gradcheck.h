// Derivative checks against finite differences in double, by random projection (as HIPS autograd's
// check_grads). With y = f(x), u and w random:
//   first order:   d<u, f(x + h v)>/dh      against  <grad <u, f>, v>
//   second order:  d<w, grad <u, f>(x + h v)>/dh  against  <grad <w, grad <u, f>>, v>, and the same
//                  for u in place of x.
// Fourth-order central differences with h = 1e-4.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "autodiff/rng.h"
#include "autodiff/tensor.h"
#include "nn/parameter.h"

namespace kindred::test {

using Function = std::function<Tensor(std::span<const Tensor>)>;

/// "" if all derivatives of f at xs agree, otherwise a sentence. xs that are not f64, or not marked
/// in `differentiable` (empty: all), are held fixed. tol2 = 0 skips the second order.
std::string gradient_error(const Function& f, std::vector<Tensor> xs, const Rng& rng,
                           double tol1 = 1e-6, double tol2 = 1e-5,
                           const std::vector<bool>& differentiable = {});

/// The same as a Catch assertion.
void check_gradients(const Function& f, std::vector<Tensor> xs, const Rng& rng, double tol1 = 1e-6,
                     double tol2 = 1e-5, const std::vector<bool>& differentiable = {});

/// Fails the test with a sentence.
void check_message(const std::string& error);

/// Derivatives with respect to every parameter of a module but buffers, of f(module).
template <class Module>
void check_parameter_gradients(const Module& module, const std::function<Tensor(const Module&)>& f,
                               const Rng& rng, double tol1 = 1e-6, double tol2 = 1e-5) {
  Module all = module;
  const auto parameters = nn::parameters_of(all);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].parameter->role == nn::Role::buffer) continue;
    const Function of_value = [&](std::span<const Tensor> in) {
      Module moved = module;
      nn::parameters_of(moved)[i].parameter->value = in[0];
      return f(moved);
    };
    const Tensor value = parameters[i].parameter->value.detach();
    const std::string error = gradient_error(of_value, {value}, rng, tol1, tol2);
    if (!error.empty()) check_message(parameters[i].path + ": " + error);
  }
}

}  // namespace kindred::test
