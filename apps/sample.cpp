// kindred sample: images as a PNG grid, text on stdout, points as a heat map; samples of a class,
// completions of given elements, and the way from noise to data.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <optional>
#include <sstream>
#include <utility>

#include "apps/command.h"
#include "apps/completion.h"
#include "apps/run_folder.h"
#include "data/alphabet.h"
#include "diffusion/gaussian.h"
#include "harness/atomic_file.h"
#include "harness/json.h"
#include "harness/picture.h"
#include "harness/result_folder.h"
#include "harness/trajectory.h"

namespace kindred::apps {

namespace {
/// An option that would change nothing is refused, so that nobody believes it did.
void refuse_ignored(const CommandLine& line, const std::vector<std::string>& names,
                    const std::string& meant_for, const harness::Run& run) {
  for (const std::string& name : names)
    check(!line.has(name) || line.values()[name].defaulted(), "sample", "--", name, " is for ",
          meant_for, "; this run is ", run.family().str(), " on ", run.spec().name);
}

void check_folder_of(const CommandLine& line, const std::string& option) {
  if (!line.has(option)) return;
  const auto folder = std::filesystem::absolute(line.get<std::string>(option)).parent_path();
  if (!std::filesystem::is_directory(folder))
    fail(Fault::io, "sample", "--", option, ": there is no folder ", folder.string());
}

/// "3", "0,1,2" or "all".
std::vector<int32_t> labels_of(const std::string& text, int64_t classes) {
  check(classes > 0, "sample", "--label: the data have no classes");
  std::vector<int32_t> labels(static_cast<std::size_t>(text == "all" ? classes : 0));
  std::iota(labels.begin(), labels.end(), 0);
  if (text == "all") return labels;
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    int32_t label = 0;
    std::istringstream in(part);
    check(static_cast<bool>(in >> label) && in.eof(), "sample", "--label ", text,
          " is neither a class number, a list such as 0,1,2, nor all");
    labels.push_back(label);
  }
  check(!labels.empty(), "sample", "--label names no class");
  return labels;
}

nlohmann::json numbers_of(const Tensor& rows) {
  nlohmann::json all = nlohmann::json::array();
  for (int64_t k = 0; k < rows.dim(0); ++k) {
    nlohmann::json row = nlohmann::json::array();
    for (int64_t i = 0; i < rows.dim(1); ++i) {
      const double value = rows.item(k * rows.dim(1) + i);
      row.push_back(rows.dtype() == DType::i32 ? nlohmann::json(static_cast<int64_t>(value))
                                               : nlohmann::json(value));
    }
    all.push_back(std::move(row));
  }
  return all;
}

/// frame_0000.png ... in a folder, which is made if need be.
void make_frames_folder(const std::string& folder) {
  std::error_code failed;
  std::filesystem::create_directories(folder, failed);
  if (failed) fail(Fault::io, "sample", "--frames: cannot make ", folder, ": ", failed.message());
}

void write_frames(const std::string& folder,
                  const std::vector<harness::Trajectory::Moment>& moments,
                  const data::DataSpec& spec, const harness::PictureStyle& style) {
  for (std::size_t i = 0; i < moments.size(); ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "/frame_%04zu.png", i);
    harness::write_sample_picture(folder + name, harness::shown_states(moments[i], spec), spec,
                                  style);
  }
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
  check(std::count(symbols.begin(), symbols.end(), harness::kGap) > 0, "sample", "--fill has no ",
        gap, "; name another sign of a gap with --gap");
  return symbols;
}
}  // namespace

int sample_command(int argc, char** argv) {
  CommandLine line(
      "kindred sample RUN [--count N] [--out FILE.png] [--prompt TEXT] [--label CLASS] [--inpaint WHAT --mask PART]",
      "Draws from a trained model: a PNG grid of images (--out), or text on stdout. A single text appears\n"
      "symbol by symbol; state-space and recurrent models need constant work and memory for each, so\n"
      "--length has no limit. Sample number k depends on --seed and k alone, whatever the batch size\n"
      "and the number of threads.\n"
      "Diffusion models: --label draws from a class, with --guidance W beyond its law ((1+W) conditional\n"
      "- W unconditional) or with --classifier RUN2, a noisy_classify run (its gradient times W). --inpaint\n"
      "completes elements; --trajectory and --frames show the way from noise to data, each state shrunk by\n"
      "1/sqrt(1 + (sigma/q)^2), q a quarter of the picture's range. Samplers are set with\n"
      "--set objective.NAME=VALUE: kindred options -f diffusion lists churn, predictor, eta, norms ...",
      "  kindred sample out/quickstart/runs/diffusion --count 64 --out clothes.png\n"
      "  kindred sample runs/nanogpt --count 1 --length 500 --prompt 'ROMEO:' --temperature 0.8\n"
      "  kindred sample runs/digits --label all --guidance 1 --count 100 --columns 10 --out digits.png\n"
      "  kindred sample runs/digits --inpaint 0-7 --mask left --method posterior --out completed.png\n"
      "  kindred sample runs/mask --count 4 --fill 'In the _________ God created'\n");
  add_trained_options(line);
  line.options().add_options()("count,n", po::value<int64_t>()->default_value(16)->value_name("N"),
                               "samples")("out,o", po::value<std::string>()->value_name("FILE"),
                                          "PNG file (images and points)")(
      "seed", po::value<int64_t>()->default_value(0)->value_name("N"), "seed of the samples")(
      "length", po::value<int64_t>()->default_value(0)->value_name("N"),
      "text: symbols to write (0: one window)")(
      "prompt", po::value<std::string>()->value_name("TEXT"), "text: the beginning to go on from")(
      "fill", po::value<std::string>()->value_name("TEXT"),
      "masked diffusion of text: a text whose gaps are filled in")(
      "gap", po::value<std::string>()->default_value("_")->value_name("CHAR"),
      "the symbol of --fill that stands for a missing one")(
      "temperature", po::value<double>()->default_value(1)->value_name("X"),
      "symbols: softmax temperature, 0 takes the most likely one; flow: scale of the prior's draws")(
      "top-k", po::value<int64_t>()->default_value(0)->value_name("N"),
      "keep only the k most likely symbols; 0 = all")(
      "top-p", po::value<double>()->default_value(1)->value_name("P"),
      "keep the most likely symbols with this total mass")(
      "steps", po::value<int64_t>()->default_value(0)->value_name("N"),
      "diffusion: solver steps; 0 = as configured")(
      "sampler", po::value<std::string>()->default_value(""), "diffusion: sampler by name")(
      "batch", po::value<int64_t>()->default_value(0)->value_name("N"),
      "diffusion: samples advanced together (memory); 0 = 64")(
      "label", po::value<std::string>()->value_name("CLASSES"),
      "diffusion: class of the samples, a list, or all; in turn")(
      "guidance", po::value<double>()->default_value(0)->value_name("W"),
      "diffusion: weight of the guidance to the class")(
      "classifier", po::value<std::string>()->value_name("RUN2"),
      "diffusion: noisy_classify run that guides")(
      "inpaint", po::value<std::string>()->value_name("WHAT"),
      "diffusion: complete FILE.png, or elements 3 / 0,4 / 0-7 of the held-out split")(
      "mask", po::value<std::string>()->value_name("PART"),
      "what is hidden: left, right, top, bottom, box:X,Y,WIDTH,HEIGHT, random:P")(
      "method", po::value<std::string>()->default_value("replacement"),
      "of completion: replacement (samplers pc, langevin) or posterior (any sampler)")(
      "trajectory", po::value<std::string>()->value_name("FILE"),
      "PNG strip of the sampler's states: a row a sample, time to the right")(
      "frames", po::value<std::string>()->value_name("FOLDER"),
      "PNG pictures of the states one after the other")(
      "moments", po::value<int64_t>()->default_value(0)->value_name("N"),
      "states in the strip (0 = 10) or frames (0 = 60)")(
      "columns", po::value<int64_t>()->default_value(0)->value_name("N"),
      "images in a row; 0 = square")("scale",
                                     po::value<int64_t>()->default_value(0)->value_name("N"),
                                     "pixels a pixel; 0 = readable");
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  check(line.has("run"), "run", "name a run folder or a snapshot file");
  // The classifier first: run.threads and run.precision hold for the whole program, and those of
  // RUN count.
  std::optional<harness::Run> classifier;
  if (line.has("classifier")) {
    const std::string path = line.get<std::string>("classifier");
    classifier.emplace(
        restored_run(read_trained(path), path, std::vector<std::string>{"run.threads=0"}));
  }
  const harness::Snapshot snapshot = read_trained(line.get<std::string>("run"));
  harness::Run run = restored_run(snapshot, line.get<std::string>("run"), line);
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
  if (spec.modality != data::Modality::image)
    refuse_ignored(line, {"columns", "scale"}, "images", run);
  const std::string& objective = run.family().objective;
  if (objective != "gaussian")
    refuse_ignored(line, {"label", "guidance", "classifier", "inpaint", "mask", "method"},
                   "gaussian diffusion", run);
  if (objective != "gaussian" && objective != "score")
    refuse_ignored(line, {"batch", "trajectory", "frames", "moments"}, "samplers of a score", run);
  if (objective == "ar") refuse_ignored(line, {"steps", "sampler"}, "diffusion", run);
  if (objective != "ar" && objective != "mask") {
    refuse_ignored(line, {"top-k", "top-p"}, "autoregressive models and masked diffusion", run);
    if (objective != "flow")
      refuse_ignored(line, {"temperature"}, "autoregressive models, masked diffusion and flows",
                     run);
  }
  if (objective != "mask" || !text)
    refuse_ignored(line, {"fill", "gap"}, "masked diffusion of text", run);
  check(line.get<int64_t>("seed") >= 0, "sample", "--seed is not negative");
  for (const char* file : {"out", "trajectory"}) check_folder_of(line, file);
  if (line.has("prompt")) {
    options.prompt = data::Alphabet::of(spec).encode(line.get<std::string>("prompt"), "--prompt");
  }
  if (line.has("fill")) options.fill = text_with_gaps(line, data::Alphabet::of(spec));
  check(!line.has("out") || !text, "sample", "text goes to stdout; --out is for images");
  const bool traced = line.has("trajectory") || line.has("frames");
  check(line.has("out") || text || line.json() || traced, "sample",
        "name a PNG file with --out (or use --json for the numbers)");
  if (line.has("out") || traced) harness::check_picture(spec);
  if (line.has("out"))
    check(std::filesystem::path(line.get<std::string>("out")).extension() == ".png", "sample",
          "--out ", line.get<std::string>("out"), ": pictures are written as .png");
  const int64_t asked_moments = line.get<int64_t>("moments");
  check(asked_moments == 0 || asked_moments > 1, "sample", "--moments ", asked_moments,
        ": 2 or more, the first and the last among them");
  if (line.has("frames")) make_frames_folder(line.get<std::string>("frames"));
  const auto seed = static_cast<uint64_t>(line.get<int64_t>("seed"));
  options.batch = line.get<int64_t>("batch");
  options.guidance = line.get<double>("guidance");
  if (line.has("label")) options.labels = labels_of(line.get<std::string>("label"), spec.classes);
  if (classifier) {
    options.classifier = &classifier->objective();
    check(options.guidance != 0, "sample",
          "--classifier guides with --guidance W; W = 1 is the law of the class");
  }
  check(line.has("inpaint") == line.has("mask"), "sample", "--inpaint and --mask go together");
  if (line.has("inpaint")) {
    options.completion =
        completion_of(run.dataset(), run.eval_split(), line.get<std::string>("inpaint"),
                      line.get<std::string>("mask"), seed);
    options.completion.method = line.get<std::string>("method");
    const int64_t elements = options.completion.values.dim(0);
    if (line.values()["count"].defaulted())
      options.count = elements * std::max<int64_t>(1, options.count / elements / 2);
    check(options.count % elements == 0, "sample", "--count ", options.count,
          " is no multiple of the ", elements, " elements of --inpaint");
  } else {
    refuse_ignored(line, {"method"}, "--inpaint", run);
  }
  std::optional<harness::Trajectory> way;
  if (traced) {
    way.emplace(options.count);
    options.trace = [&](int64_t step, double sigma, int64_t first, const Tensor& states) {
      way->record(step, sigma, first, states);
    };
  } else {
    refuse_ignored(line, {"moments"}, "--trajectory and --frames", run);
  }
  const data::Alphabet alphabet = text ? data::Alphabet::of(spec) : data::Alphabet::bytes();
  bool streamed = false;  // one text appears as it is drawn
  if (text && options.count == 1 && !line.json())
    options.drawn = [&](int64_t, int32_t symbol) {
      if (!std::exchange(streamed, true) && line.has("prompt"))
        std::cout << line.get<std::string>("prompt");
      std::cout << alphabet.decode({&symbol, 1}) << std::flush;
    };
  harness::ProgressBar bar("draw " + run.family().str(), 0, line.progress_mode());
  if (!options.drawn) harness::show_drawing(bar, options);
  Tensor samples;
  const auto draw = [&] { samples = run.sample(options, seed); };
  if (classifier) {
    classifier->with_average(draw);
  } else {
    draw();
  }

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
      std::cout << nlohmann::json{{"samples", texts}}.dump(2, ' ', false,
                                                           nlohmann::json::error_handler_t::replace)
                << '\n';
    return 0;
  }
  const harness::PictureStyle style{.columns = line.get<int64_t>("columns"),
                                    .scale = line.get<int64_t>("scale")};
  const auto moments = [&](int64_t standard) {
    return way->moments(asked_moments == 0 ? standard : asked_moments);
  };
  std::vector<std::string> written;
  if (line.has("out")) {
    const std::string out = line.get<std::string>("out");
    if (line.has("inpaint") && spec.modality == data::Modality::image) {
      const CompletionPicture picture = completion_picture(options.completion, samples, spec);
      harness::write_sample_picture(out, picture.symbols, spec,
                                    {.columns = picture.columns, .scale = style.scale});
    } else {
      harness::write_sample_picture(out, samples, spec, style);
    }
    written.push_back(std::to_string(options.count) + " samples to " + out);
  }
  if (line.has("trajectory")) {
    harness::atomic_write(line.get<std::string>("trajectory"),
                          harness::strip_picture(moments(10), spec, style));
    written.push_back("their way to " + line.get<std::string>("trajectory"));
  }
  if (line.has("frames")) {
    const auto frames = moments(60);
    write_frames(line.get<std::string>("frames"), frames, spec, style);
    written.push_back(std::to_string(frames.size()) + " frames to " +
                      line.get<std::string>("frames"));
  }
  if (line.json()) {
    nlohmann::json result{{"samples", numbers_of(samples)}};
    if (traced)
      for (const auto& moment : moments(10))
        result["trajectory"].push_back({{"step", moment.step},
                                        {"sigma", moment.sigma},
                                        {"states", numbers_of(moment.states)}});
    std::cout << result.dump() << '\n';
  } else {
    for (std::size_t i = 0; i < written.size(); ++i)
      std::cout << (i == 0 ? "wrote " : ", ") << written[i];
    std::cout << '\n';
  }
  return 0;
}

}  // namespace kindred::apps
