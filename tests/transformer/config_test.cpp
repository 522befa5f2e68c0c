// Presets, explicit keys over them, and refusals of impossible settings.
#include "transformer/config.h"

#include <catch2/catch.hpp>

using namespace kindred;
using namespace kindred::transformer;

TEST_CASE("config: explicit keys override the preset, in any order") {
  harness::Settings settings;
  settings.set("model.bias", "true", "test");
  settings.set("model.preset", "llama", "test");
  settings.set("model.kv_heads", "2", "test");
  const Config c = read_config(settings);
  settings.finish();
  CHECK(c.norm == "rms");
  CHECK(c.pos == "rope");
  CHECK(c.ffn == "swiglu");
  CHECK(c.bias);
  CHECK(c.kv_heads == 2);
}

TEST_CASE("config: the resolved settings read back as themselves") {
  harness::Settings settings;
  settings.set("model.preset", "gpt2", "test");
  settings.set("model.layers", "3", "test");
  read_config(settings);
  harness::Settings again = harness::Settings::from_text(settings.resolved(), "resolved");
  const Config c = read_config(again);
  CHECK(c.layers == 3);
  CHECK(c.heads == 12);
  CHECK(c.width == 768);
  CHECK(c.ffn == "gelu_tanh");
  CHECK(again.resolved() == settings.resolved());
}

TEST_CASE("config: zeros stand for the usual sizes") {
  Config c;
  CHECK(plan(c).hidden == 512);
  CHECK(plan(c).head_dim == 32);
  CHECK(plan(c).kv_heads == 4);
  c.ffn = "swiglu";
  CHECK(plan(c).hidden == 352);  // 8/3 * 128 = 341.3, rounded up to a multiple of 32
  c.width = 96;
  CHECK(plan(c).hidden == 256);  // 8/3 * 96 = 256 exactly
  c.ffn_mult = 2;
  CHECK(plan(c).hidden == 192);
  c.head_dim = 5;
  c.heads = 6;
  c.kv_heads = 3;
  CHECK(plan(c).qkv_width() == 60);
}

TEST_CASE("config: impossible settings name their key") {
  const auto refused = [](auto change, const std::string& key) {
    Config c;
    change(c);
    CHECK_THROWS_WITH(plan(c), Catch::StartsWith("[" + key + "]"));
  };
  refused([](Config& c) { c.width = 130; }, "model.heads");
  refused([](Config& c) { c.heads = 0; }, "model.heads");
  refused([](Config& c) { c.kv_heads = 3; }, "model.kv_heads");
  refused([](Config& c) { c.pos = "rope", c.head_dim = 7; }, "model.head_dim");
  refused([](Config& c) { c.pos = "alibi"; }, "model.pos");
  refused([](Config& c) { c.norm = "batch"; }, "model.norm");
  refused([](Config& c) { c.norm_place = "both"; }, "model.norm_place");
  refused([](Config& c) { c.ffn = "gelu"; }, "model.ffn");
  refused([](Config& c) { c.p_attn = 1; }, "model.p_attn");
  refused([](Config& c) { c.layers = -1; }, "model.layers");
  CHECK_THROWS_WITH(preset("gpt5"),
                    Catch::Contains("choose one of none, bigram, nanogpt, gpt2, llama"));
}
