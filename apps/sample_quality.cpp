#include "apps/sample_quality.h"

#include <cstdio>
#include <iostream>
#include <optional>

#include "apps/run_folder.h"
#include "harness/json.h"
#include "harness/result_folder.h"
#include "harness/sample_quality.h"

namespace kindred::apps {

namespace {
constexpr const char* kOfSamples[] = {"classifier", "sampler", "steps", "seed"};
}

void add_sample_options(CommandLine& line) {
  line.options().add_options()("samples",
                               po::value<int64_t>()->implicit_value(0, "")->value_name("[N]"),
                               "judge N samples (2000, or half of the held-out split)")(
      "classifier", po::value<std::string>()->value_name("RUN"),
      "with --samples: a trained classify/BACKBONE run on the same images")(
      "sampler", po::value<std::string>()->value_name("NAME"),
      "with --samples: diffusion, sampler by name")("steps", po::value<int64_t>()->value_name("N"),
                                                    "with --samples: diffusion, solver steps")(
      "seed", po::value<int64_t>()->value_name("N"), "with --samples: seed of the samples (0)");
}

void refuse_sample_options(const CommandLine& line) {
  for (const char* name : kOfSamples)
    check(!line.has(name), "eval", "--", name, " goes with --samples");
}

int eval_samples(const CommandLine& line) {
  // The classifier first: run.threads and run.precision hold for the whole program, and those of
  // RUN count.
  std::optional<harness::Run> classifier;
  if (line.has("classifier")) {
    const std::string path = line.get<std::string>("classifier");
    const harness::Snapshot snapshot = read_trained(path);
    check(snapshot.objective == "classify", "--classifier", path, " is ", snapshot.objective, "/",
          snapshot.backbone, "; name a run of classify/BACKBONE on the same images");
    classifier.emplace(restored_run(snapshot, path, std::vector<std::string>{"run.threads=0"}));
  }
  harness::Run run = load_trained(line);

  harness::SampleQualityOptions options;
  options.count = line.get<int64_t>("samples");
  const int64_t seed = line.has("seed") ? line.get<int64_t>("seed") : 0;
  check(seed >= 0, "eval", "--seed is not negative");
  options.seed = static_cast<uint64_t>(seed);
  if (run.family().objective == "ar")
    for (const char* name : {"sampler", "steps"})
      check(!line.has(name), "eval", "--", name, " is for diffusion; this run is ",
            run.family().str());
  if (line.has("sampler")) options.sampling.sampler = line.get<std::string>("sampler");
  if (line.has("steps")) options.sampling.steps = line.get<int64_t>("steps");
  harness::ProgressBar bar("draw " + run.family().str(), 0, line.progress_mode());
  harness::show_drawing(bar, options.sampling);

  const harness::SampleQuality quality =
      harness::sample_quality(run, options, classifier ? &*classifier : nullptr);
  if (line.json()) {
    nlohmann::json out = harness::to_json(quality);
    out["family"] = run.family().str();
    out["seed"] = seed;
    std::cout << out.dump(2) << '\n';
    return 0;
  }
  std::cout << run.family().str() << " on " << quality.data << ": " << quality.count
            << " samples against as many elements of the " << quality.split
            << " split\nreal: other held-out elements in place of the samples\n\n"
            << harness::sample_table(quality);
  if (!classifier && run.spec().modality == data::Modality::image && run.spec().classes > 0)
    std::cout << "\nFigures in the features of a classifier (FID, classes) need --classifier RUN, "
                 "where RUN is made by\n"
                 "  kindred train -f classify/cnn with the data settings of this run\n";
  return 0;
}

}  // namespace kindred::apps
