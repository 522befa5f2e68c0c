// Presets and checks of the attention backbone's settings.
#include "transformer/config.h"

#include <cmath>

#include "autodiff/choice.h"

namespace kindred::transformer {
namespace {

void check_probability(double p, const char* key) {
  check(p >= 0 && p < 1, key, p, " is no dropout probability; must be in [0, 1)");
}

}  // namespace

Config preset(const std::string& name) {
  Config c;
  c.preset = name;
  if (name == "none") return c;
  if (name == "bigram") {
    c.layers = 0;
    c.norm_place = "post";
    c.pos = "none";
    c.bias = false;
  } else if (name == "nanogpt") {
    c.norm = "ln_nobias";
    c.bias = false;
  } else if (name == "gpt2") {
    c.layers = c.heads = 12;
    c.width = 768;
    c.ffn = "gelu_tanh";
  } else if (name == "llama") {
    c.norm = "rms";
    c.pos = "rope";
    c.ffn = "swiglu";
    c.bias = false;
  } else {
    fail(Fault::usage, "model.preset", "unknown preset \"", name,
         "\"; choose one of none, bigram, nanogpt, gpt2, llama");
  }
  return c;
}

Config read_config(harness::Settings& settings) {
  Config config = preset(settings.get("model.preset", "none"));
  settings.read("model", config);
  return config;
}

void ar_defaults(harness::Settings& settings) {
  const std::string name = settings.get("model.preset", "none");
  if (name == "none") return;
  const auto imply = [&](const std::string& key, const std::string& value) {
    if (!settings.has(key)) settings.set(key, value, "preset " + name);
  };
  if (name == "bigram") {
    imply("objective.head", "identity");
    imply("objective.tie", "none");
    return;  // the identity head sets the width
  }
  imply("model.width", std::to_string(preset(name).width));
  imply("objective.tie", name == "llama" ? "none" : "io");
}

Plan plan(const Config& c) {
  check(c.layers >= 0, "model.layers", c.layers, " blocks");
  check(c.width >= 1, "model.width", c.width, " channels; at least 1");
  check(c.heads >= 1, "model.heads", c.heads, " heads");
  check(c.kv_heads >= 0, "model.kv_heads", c.kv_heads, " heads");
  check(c.head_dim >= 0, "model.head_dim", c.head_dim);
  check_probability(c.p_emb, "model.p_emb");
  check_probability(c.p_attn, "model.p_attn");
  check_probability(c.p_resid, "model.p_resid");
  Plan p{};
  p.layers = c.layers;
  p.width = c.width;
  p.heads = c.heads;
  p.kv_heads = c.kv_heads == 0 ? c.heads : c.kv_heads;
  check(p.heads % p.kv_heads == 0, "model.kv_heads", p.kv_heads, " do not divide ", p.heads,
        " query heads");
  check(c.layers == 0 || c.head_dim > 0 || c.width % c.heads == 0, "model.heads", c.heads,
        " do not divide the width ", c.width, "; set model.head_dim");
  p.head_dim = c.head_dim > 0 ? c.head_dim : std::max<int64_t>(1, c.width / c.heads);
  p.norm = nn::parse_norm(c.norm, "model.norm");
  p.norm_place = choose<NormPlace>(
      c.norm_place, {{"pre", NormPlace::pre}, {"post", NormPlace::post}}, "model.norm_place");
  p.positions = choose<Positions>(c.pos,
                                  {{"learned", Positions::learned},
                                   {"sin", Positions::sin},
                                   {"rope", Positions::rope},
                                   {"none", Positions::none}},
                                  "model.pos");
  check(p.positions != Positions::rope || p.head_dim % 2 == 0, "model.head_dim", p.head_dim,
        " is odd; rotary positions turn pairs");
  check(c.rope_base > 1, "model.rope_base", c.rope_base, "; must be above 1");
  p.rope_base = c.rope_base;
  p.rope_pairs = choose<RopePairs>(
      c.rope_layout, {{"half", RopePairs::half}, {"interleaved", RopePairs::interleaved}},
      "model.rope_layout");
  p.ffn = nn::parse_activation(c.ffn, "model.ffn");
  check(c.ffn_mult >= 0, "model.ffn_mult", c.ffn_mult);
  const auto width = static_cast<double>(c.width);
  if (c.ffn_mult > 0) {
    p.hidden = std::max<int64_t>(1, std::llround(c.ffn_mult * width));
  } else if (p.ffn == nn::Activation::swiglu) {
    p.hidden = static_cast<int64_t>(std::ceil(width * 8 / 3 / 32)) * 32;
  } else {
    p.hidden = 4 * c.width;
  }
  p.bias = c.bias;
  p.p_emb = c.p_emb;
  p.p_attn = c.p_attn;
  p.p_resid = c.p_resid;
  return p;
}

}  // namespace kindred::transformer
