// The axes, and the models along them.
#include <algorithm>

#include "apps/bench/gpt_rows.h"
#include "apps/bench/row_settings.h"
#include "apps/bench/scaling.h"
#include "autodiff/pool.h"

namespace kindred::apps::bench {

namespace {
constexpr int64_t kHeadWidth = 64, kVocab = 65;

GptSize text_size(const ModelSize& m) {
  return {m.layers, std::max<int64_t>(1, m.width / kHeadWidth), m.width, m.context, m.batch, kVocab,
          false};
}

std::unique_ptr<harness::Run> make_s4d(const ModelSize& size, std::shared_ptr<FixedText> text,
                                       const WorkOptions& options) {
  harness::Settings settings = row_settings("ar/s4d", 1, options);
  set(settings, "model.layers", size.layers);
  set(settings, "model.width", size.width);
  set(settings, "model.state", size.state);
  set(settings, "train.batch", size.batch);
  set(settings, "schedule.anneal", "constant");
  return std::make_unique<harness::Run>(std::move(settings), std::move(text));
}
}  // namespace

SizedRun make_sized(const ModelSize& size, const WorkOptions& options) {
  const GptSize gpt = text_size(size);
  auto text = std::make_shared<FixedText>(gpt);
  const PoolStats pool = pool::stats();
  SizedRun made{text, static_cast<double>(pool.bytes_in_use),
                static_cast<double>(pool.bytes_reserved), nullptr};
  made.run = size.attention ? make_gpt(gpt, text, options) : make_s4d(size, text, options);
  return made;
}

const std::vector<Axis>& axes() {
  static const std::vector<Axis> all = {
      {"gpt-width",
       "gpt",
       "GPT step, 2 layers, 8 x 64 symbols",
       "width",
       "2",
       {32, 64, 128, 256, 512, 1024},
       [](int64_t n) { return ModelSize{.width = n}; },
       {"largest GPT of 2 layers at 8 x 64 symbols", true, 2}},
      {"gpt-depth",
       "gpt",
       "GPT step, width 256, 8 x 64 symbols",
       "layers",
       "1",
       {1, 2, 4, 8, 16, 32},
       [](int64_t n) { return ModelSize{.layers = n, .width = 256}; }},
      {"gpt-context",
       "gpt",
       "GPT step, 2 layers of width 128, one window",
       "context, symbols",
       "1 -> 2",
       {256, 512, 1024, 2048, 4096, 8192},
       [](int64_t n) { return ModelSize{.context = n, .batch = 1}; },
       {"longest window of a GPT of 2 layers of width 128, batch 1", false, 2}},
      {"gpt-batch",
       "gpt",
       "GPT step, 4 layers of width 128, windows of 64 symbols",
       "batch, windows",
       "1",
       {2, 4, 8, 16, 32, 64},
       [](int64_t n) { return ModelSize{.layers = 4, .batch = n}; }},
      {"s4d-state",
       "s4d",
       "S4D step, 2 layers of width 128, 4 x 1024 symbols",
       "state size N",
       "<= 1",
       {8, 16, 32, 64, 128, 256},
       [](int64_t n) {
         return ModelSize{.attention = false, .context = 1024, .batch = 4, .state = n};
       }},
      {"s4d-length",
       "s4d",
       "S4D step, 2 layers of width 128, N 64, one sequence",
       "length, symbols",
       "1 (L log L)",
       {512, 1024, 2048, 4096, 8192, 16384},
       [](int64_t n) { return ModelSize{.attention = false, .context = n, .batch = 1}; },
       {"longest sequence of an S4D model of 2 layers of width 128, batch 1", false, 1.1}},
      {"s4d-width",
       "s4d",
       "S4D step, 2 layers, N 64, 2 x 512 symbols",
       "width",
       "1 -> 2",
       {32, 64, 128, 256, 512, 1024},
       [](int64_t n) {
         return ModelSize{.attention = false, .width = n, .context = 512, .batch = 2};
       }},
  };
  return all;
}

const std::vector<int64_t>& crossing_lengths() {
  static const std::vector<int64_t> lengths = {16,   32,   64,   128,  256,  512,
                                               1024, 2048, 4096, 8192, 16384};
  return lengths;
}

std::vector<int64_t> chosen_sizes(const std::vector<int64_t>& all, bool quick) {
  return quick ? std::vector<int64_t>(all.begin(), all.begin() + 3) : all;
}

}  // namespace kindred::apps::bench
