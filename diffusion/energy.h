// Energies: f(x) = log p(x) + constant, of which only f and its gradient, the score s = +grad f,
// are ever stored. A network F: [D] -> [D] gives
//   f(x) = x . F(x),
// the cross term of |x - F(x)|^2/2 (Salimans and Ho 2021, who take all of it): any backbone serves,
// F = 0 means s = 0, and every smooth f with f(0) = 0 has this form (Hadamard's lemma). The score
// is a gradient field, which that of a free network need not be. Training it takes one derivative
// more. x [B, D], one energy a row.
#pragma once
#include "autodiff/functional.h"

namespace kindred::diffusion {

/// x [B, D] -> x . F(x) of each row, [B]. `field` maps [B, D] -> [B, D], row by row.
TensorFunction inner_product_energy(TensorFunction field);
/// x [B, D] -> grad f of each row, [B, D]; rows of `energy` ([B]) must not influence one another.
TensorFunction gradient_field(TensorFunction energy);

}  // namespace kindred::diffusion
