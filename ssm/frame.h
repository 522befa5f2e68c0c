// What surrounds the blocks of a sequence model on a residual stream: the way in, with the time of
// a diffusion and a label if there are any, and the way out.
//   embed(x) = W_in x + W_t e(tau, label),   finish(h) = W_out N(h)
// and, with film, in every block k
//   (1 + p_k) N(h) + q_k,  [p_k, q_k] = F_k silu(e)     (FiLM: Perez et al. 2018)
// N normalisation, if any. B batch, L length, C width; W_in and W_out only where widths differ.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "harness/backbone.h"
#include "nn/condition.h"
#include "nn/linear.h"
#include "nn/norm.h"

namespace kindred::ssm {

/// A map that starts as normal(0, 1/sqrt(in)), with a bias.
nn::Linear linear_map(int64_t in, int64_t out, const Rng& rng, DType dtype);

/// [model] conditioning: "input" or "film".
inline constexpr const char* kConditioningHelp =
    "how noise level and label enter, if there are any: input (added to the embedded input) or "
    "film "
    "(there, and as scale and shift of each block's normalisation)";
/// Usage error for another word.
bool parse_film(const std::string& conditioning);

struct Frame {
  std::string name;  ///< of the backbone, for messages
  harness::BackboneSpec spec;
  int64_t width = 0;
  std::optional<nn::Linear> input;  ///< only if in_channels != width
  nn::Condition condition;          ///< time and label, with their projection to [C] if any
  std::optional<nn::Linear> time_projection;
  std::vector<nn::Linear> film;  ///< E -> 2 C for each block, zero at first; empty without film
  std::optional<nn::Norm> final_norm;
  std::optional<nn::Linear> output;  ///< only if out_channels != width

  /// Linear maps start as normal(0, 1/sqrt(fan-in)). film_blocks: how many blocks a condition, if
  /// there is one, steers by film.
  static Frame make(const std::string& name, const harness::BackboneSpec& spec, int64_t width,
                    std::optional<nn::NormKind> final_norm, int64_t film_blocks, const Rng& rng,
                    DType dtype);

  /// Time and label of each row, [B, E]; undefined without either.
  Tensor told(const harness::Context& context, int64_t batch) const;
  /// x [B, L, in_channels] -> [B, L, C]; e from told().
  Tensor embed(const Tensor& x, const Tensor& e) const;
  /// The normalisation of block k, steered by e where there is film.
  Tensor normed(std::size_t k, const nn::Norm& norm, const Tensor& h, const Tensor& e) const;
  /// h [B, L, C] -> [B, L, out_channels].
  Tensor finish(const Tensor& h) const;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("input", self.input);
    nn::Condition::describe(self.condition, visit);
    visit("time_projection", self.time_projection);
    visit("film", self.film);
    visit("final_norm", self.final_norm);
    visit("output", self.output);
  }
};

}  // namespace kindred::ssm
