// Settings of the attention backbone ([model] in an experiment file) and its presets.
#pragma once
#include <cstdint>
#include <string>

#include "harness/config.h"
#include "nn/mlp.h"
#include "nn/norm.h"

namespace kindred::transformer {

struct Config {
  std::string preset = "none";
  int64_t layers = 4, heads = 4, kv_heads = 0, head_dim = 0, width = 128;
  std::string norm = "ln", norm_place = "pre", pos = "learned", ffn = "gelu_erf";
  double ffn_mult = 0;
  bool bias = true;
  double p_emb = 0, p_attn = 0, p_resid = 0;
  double rope_base = 10000;
  std::string rope_layout = "half";

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("preset", self.preset, "defaults from none, bigram, nanogpt, gpt2 or llama");
    visit("layers", self.layers, "number of blocks");
    visit("heads", self.heads, "query heads");
    visit("kv_heads", self.kv_heads, "key and value heads (grouped queries); 0 = heads");
    visit("head_dim", self.head_dim, "width of a head; 0 = width / heads");
    visit("width", self.width, "channels of the residual stream");
    visit("norm", self.norm, "ln, ln_nobias or rms");
    visit("norm_place", self.norm_place, "pre: x + F(N(x)) and a final norm; post: N(x + F(x))");
    visit("pos", self.pos, "positions: learned, sin, rope or none");
    visit("ffn", self.ffn, "relu, gelu_erf, gelu_tanh or swiglu");
    visit("ffn_mult", self.ffn_mult,
          "inner width / width; 0 = 4, or 8/3 rounded up to a multiple of 32 for swiglu");
    visit("bias", self.bias, "biases in linear maps");
    visit("p_emb", self.p_emb, "dropout of the embedded input");
    visit("p_attn", self.p_attn, "dropout of attention probabilities");
    visit("p_resid", self.p_resid, "dropout of each branch's output");
    visit("rope_base", self.rope_base, "base of the rotary angles");
    visit("rope_layout", self.rope_layout, "rotary pairs: half (i, i + D/2) or interleaved");
  }
};

/// A Config with the values of a preset: the architecture of the model of that name, and its size
/// where the name stands for one (gpt2: 124M; nanogpt: its CPU example). Usage error if unknown.
///   bigram   no blocks: with objective.head = identity a table of next-symbol logits
///   nanogpt  pre-LN without biases, learned positions, exact GELU (karpathy/nanoGPT)
///   gpt2     the same with biases and the tanh GELU (Radford et al. 2019)
///   llama    pre-RMSNorm, rotary positions, SwiGLU, no biases (Touvron et al. 2023)
Config preset(const std::string& name);

/// [model] from settings: preset first, explicit keys over it.
Config read_config(harness::Settings& settings);

/// What the presets say about the language model around the backbone (harness `ar` objective):
/// sets model.width, objective.tie and objective.head where nobody set them.
void ar_defaults(harness::Settings& settings);

enum class NormPlace { pre, post };
enum class Positions { learned, sin, rope, none };
enum class RopePairs { half, interleaved };

/// A checked Config: words parsed, zeros replaced by what they stand for.
struct Plan {
  int64_t layers, heads, kv_heads, head_dim, width, hidden;
  nn::NormKind norm;
  NormPlace norm_place;
  Positions positions;
  nn::Activation ffn;
  bool bias;
  double p_emb, p_attn, p_resid, rope_base;
  RopePairs rope_pairs;

  int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
};
/// Usage errors name the key: sizes below 1, heads that do not divide, an odd head_dim with rope,
/// dropout outside [0, 1).
Plan plan(const Config& config);

}  // namespace kindred::transformer
