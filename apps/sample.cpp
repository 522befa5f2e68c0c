// kindred sample: images as a PNG grid, text on stdout, points as a heat map.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>
#include <utility>

#include "apps/command.h"
#include "apps/run_folder.h"
#include "data/alphabet.h"
#include "harness/picture.h"

namespace kindred::apps {

namespace {
/// An option that would change nothing is refused, so that nobody believes it did.
void refuse_ignored(const CommandLine& line, const std::vector<std::string>& names, const std::string& meant_for,
                    const harness::Run& run) {
  for (const std::string& name : names)
    check(!line.has(name) || line.values()[name].defaulted(), "sample", "--", name, " is for ", meant_for,
          "; this run is ", run.family().str(), " on ", run.spec().name);
}

/// --fill: what stands where --gap does is to be drawn.
std::vector<int32_t> text_with_gaps(const CommandLine& line, const data::Alphabet& alphabet) {
  const std::string text = line.get<std::string>("fill"), gap = line.get<std::string>("gap");
  check(!gap.empty(), "sample", "--gap is empty");
  std::vector<int32_t> symbols;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t next = std::min(text.find(gap, at), text.size());
    const std::vector<int32_t> known = alphabet.encode(text.substr(at, next - at), "--fill");
    symbols.insert(symbols.end(), known.begin(), known.end());
    if (next < text.size()) symbols.push_back(harness::kGap);
    at = next + gap.size();
  }
  check(std::count(symbols.begin(), symbols.end(), harness::kGap) > 0, "sample", "--fill has no ", gap,
        "; name another sign of a gap with --gap");
  return symbols;
}
}  // namespace

int sample_command(int argc, char** argv) {
  CommandLine line("kindred sample RUN [--count N] [--out FILE.png] [--prompt TEXT]",
                   "Draws from a trained model: a PNG grid of images (--out), or text on stdout. A single text appears\n"
                   "symbol by symbol; state-space and recurrent models need constant work and memory for each, so\n"
                   "--length has no limit. Sample number k depends on --seed and k alone, whatever the batch size\n"
                   "and the number of threads.",
                   "  kindred sample out/quickstart/runs/diffusion --count 64 --out clothes.png\n"
                   "  kindred sample runs/nanogpt --count 1 --length 500 --prompt 'ROMEO:' --temperature 0.8\n"
                   "  kindred sample runs/mask --count 4 --fill 'In the _________ God created'\n");
  add_trained_options(line);
  line.options().add_options()("count,n", po::value<int64_t>()->default_value(16)->value_name("N"), "samples")(
      "out,o", po::value<std::string>()->value_name("FILE"), "PNG file (images and points)")(
      "seed", po::value<int64_t>()->default_value(0)->value_name("N"), "seed of the samples")(
      "length", po::value<int64_t>()->default_value(0)->value_name("N"), "text: symbols to write (0: one window)")(
      "prompt", po::value<std::string>()->value_name("TEXT"), "text: the beginning to go on from")(
      "fill", po::value<std::string>()->value_name("TEXT"), "masked diffusion of text: a text whose gaps are filled in")(
      "gap", po::value<std::string>()->default_value("_")->value_name("CHAR"), "the symbol of --fill that stands for a missing one")(
      "temperature", po::value<double>()->default_value(1),
      "symbols: softmax temperature; 0 takes the most likely one")(
      "top-k", po::value<int64_t>()->default_value(0), "keep only the k most likely symbols; 0 = all")(
      "top-p", po::value<double>()->default_value(1), "keep the most likely symbols with this total mass")(
      "steps", po::value<int64_t>()->default_value(0), "diffusion: solver steps; 0 = as configured")(
      "sampler", po::value<std::string>()->default_value(""), "diffusion: sampler by name")(
      "columns", po::value<int64_t>()->default_value(0), "images in a row; 0 = square")(
      "scale", po::value<int64_t>()->default_value(0), "pixels a pixel; 0 = readable");
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  harness::Run run = load_trained(line);
  const data::DataSpec& spec = run.spec();

  check(run.objective().draws(), "sample", run.family().objective,
        " has nothing to draw; use kindred predict");

  harness::SampleOptions options;
  options.count = line.get<int64_t>("count");
  check(options.count > 0, "sample", "--count must be positive");
  options.length = line.get<int64_t>("length");
  options.temperature = line.get<double>("temperature");
  options.top_k = line.get<int64_t>("top-k");
  options.top_p = line.get<double>("top-p");
  options.steps = line.get<int64_t>("steps");
  options.sampler = line.get<std::string>("sampler");
  const bool text = spec.modality == data::Modality::text;
  if (!text) refuse_ignored(line, {"prompt", "length"}, "text", run);
  if (spec.modality != data::Modality::image) refuse_ignored(line, {"columns", "scale"}, "images", run);
  const std::string& objective = run.family().objective;
  if (objective == "ar") refuse_ignored(line, {"steps", "sampler"}, "diffusion", run);
  if (objective != "ar" && objective != "mask")
    refuse_ignored(line, {"temperature", "top-k", "top-p"}, "autoregressive models and masked diffusion", run);
  if (objective != "mask" || !text) refuse_ignored(line, {"fill", "gap"}, "masked diffusion of text", run);
  check(line.get<int64_t>("seed") >= 0, "sample", "--seed is not negative");
  if (line.has("out")) {
    const auto folder = std::filesystem::absolute(line.get<std::string>("out")).parent_path();
    if (!std::filesystem::is_directory(folder)) fail(Fault::io, "sample", "--out: there is no folder ", folder.string());
  }
  if (line.has("prompt")) {
    options.prompt = data::Alphabet::of(spec).encode(line.get<std::string>("prompt"), "--prompt");
  }
  if (line.has("fill")) options.fill = text_with_gaps(line, data::Alphabet::of(spec));
  check(!line.has("out") || !text, "sample", "text goes to stdout; --out is for images");
  check(line.has("out") || text || line.json(), "sample", "name a PNG file with --out (or use --json for the numbers)");
  const data::Alphabet alphabet = text ? data::Alphabet::of(spec) : data::Alphabet::bytes();
  bool streamed = false;  // one text appears as it is drawn
  if (text && options.count == 1 && !line.json())
    options.drawn = [&](int64_t, int32_t symbol) {
      if (!std::exchange(streamed, true) && line.has("prompt")) std::cout << line.get<std::string>("prompt");
      std::cout << alphabet.decode({&symbol, 1}) << std::flush;
    };
  const Tensor samples = run.sample(options, static_cast<uint64_t>(line.get<int64_t>("seed")));

  if (streamed) {
    std::cout << '\n';
    return 0;
  }
  if (text) {
    nlohmann::json texts = nlohmann::json::array();
    for (int64_t k = 0; k < options.count; ++k) {
      const std::string written =
          alphabet.decode(samples.span<int32_t>().subspan(k * samples.dim(1), samples.dim(1)));
      if (line.json()) {
        texts.push_back(written);
      } else {
        if (k > 0) std::cout << "\n----\n";
        if (line.has("prompt")) std::cout << line.get<std::string>("prompt");
        std::cout << written << '\n';
      }
    }
    if (line.json())
      std::cout << nlohmann::json{{"samples", texts}}.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
    return 0;
  }
  if (line.has("out")) {
    harness::write_sample_picture(line.get<std::string>("out"), samples, spec,
                                  {.columns = line.get<int64_t>("columns"), .scale = line.get<int64_t>("scale")});
  }
  if (line.json()) {
    nlohmann::json rows = nlohmann::json::array();
    for (int64_t k = 0; k < samples.dim(0); ++k) {
      nlohmann::json row = nlohmann::json::array();
      for (int64_t i = 0; i < samples.dim(1); ++i) {
        const double value = samples.item(k * samples.dim(1) + i);
        row.push_back(samples.dtype() == DType::i32 ? nlohmann::json(static_cast<int64_t>(value)) : nlohmann::json(value));
      }
      rows.push_back(std::move(row));
    }
    std::cout << nlohmann::json{{"samples", rows}}.dump() << '\n';
  } else {
    std::cout << "wrote " << options.count << " samples to " << line.get<std::string>("out") << '\n';
  }
  return 0;
}

}  // namespace kindred::apps
