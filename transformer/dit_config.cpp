#include "transformer/dit_config.h"

namespace kindred::transformer {

DitConfig dit_preset(const std::string& name) {
  DitConfig c;
  c.preset = name;
  if (name == "none") return c;
  if (name == "mnist") {
    c.layers = 8;
    c.width = 256;
  } else if (name == "dit_s") {
    c.layers = 12;
    c.width = 384;
    c.heads = 6;
  } else if (name == "dit_b") {
    c.layers = c.heads = 12;
    c.width = 768;
  } else {
    fail(Fault::usage, "model.preset", "unknown preset \"", name,
         "\"; choose one of none, mnist, dit_s, dit_b");
  }
  return c;
}

DitConfig read_dit_config(harness::Settings& settings) {
  DitConfig config = dit_preset(settings.get("model.preset", "none"));
  settings.read("model", config);
  return config;
}

Plan plan(const DitConfig& c, bool image) {
  check(c.heads > 0 && c.width % c.heads == 0, "model.heads", c.heads, " do not divide the width ",
        c.width);
  check(image || c.width / c.heads % 2 == 0, "model.heads", c.heads, " heads of ",
        c.width / c.heads, " numbers (model.width = ", c.width,
        "); rotary positions turn pairs, choose an even size");
  Config config;
  config.layers = c.layers;
  config.heads = c.heads;
  config.width = c.width;
  config.pos = image ? "none" : "rope";  // positions of images are added to the tokens
  config.ffn = c.ffn;
  config.ffn_mult = c.ffn_mult;
  config.p_attn = c.p_attn;
  config.p_resid = c.p_resid;
  config.rope_base = c.rope_base;
  return plan(config);
}

}  // namespace kindred::transformer
