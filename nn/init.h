// Initial values of parameters. Each is a pure function of its Rng, which the caller splits by the
// parameter's name, so adding a layer changes no other layer's numbers.
// Parameters are born requiring a gradient, except those of Role::buffer.
#pragma once
#include "autodiff/rng.h"
#include "nn/parameter.h"

namespace kindred::nn {

/// Independent normals with mean 0 and standard deviation `std`.
Parameter normal(const Shape& shape, double std, const Rng& rng, Role role = Role::matrix,
                 DType dtype = DType::f32);
/// Uniform on (-b, b), b = 1/sqrt(fan_in): the default of PyTorch's linear and convolution layers.
Parameter uniform_fan_in(const Shape& shape, int64_t fan_in, const Rng& rng,
                         Role role = Role::matrix, DType dtype = DType::f32);
/// Every element = value (0 for biases and zero-initialised outputs, 1 for gains).
Parameter constant(const Shape& shape, double value, Role role, DType dtype = DType::f32);
inline Parameter zeros(const Shape& shape, Role role, DType dtype = DType::f32) {
  return constant(shape, 0, role, dtype);
}
/// Blocks of rows with orthonormal rows or columns, whichever there are fewer of, each block a
/// uniformly random one (Saxe, McClelland and Ganguli 2014): a recurrent weight [G H, H] of G gates
/// keeps the length of a state in each gate. `blocks` divides the rows.
Parameter orthogonal(int64_t rows, int64_t columns, int64_t blocks, const Rng& rng,
                     Role role = Role::matrix, DType dtype = DType::f32);
/// Uniform on (-b, b), b = sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010).
Parameter glorot_uniform(const Shape& shape, int64_t fan_in, int64_t fan_out, const Rng& rng,
                         Role role = Role::matrix, DType dtype = DType::f32);
/// Given values, e.g. a state matrix computed in double.
Parameter given(const Tensor& value, Role role);

}  // namespace kindred::nn
