// kindred train: one family on one data set, in a run folder, resumable.
#include <cmath>
#include <cstdio>
#include <iostream>

#include "apps/command.h"
#include "apps/run_folder.h"
#include "apps/sample_quality.h"
#include "harness/compare.h"
#include "harness/json.h"
#include "harness/manifest.h"
#include "harness/result_folder.h"
#include "harness/run_dir.h"
#include "harness/snapshot_store.h"
#include "harness/trainer.h"

namespace kindred::apps {

using harness::Run;

int train_command(int argc, char** argv) {
  CommandLine line(
      "kindred train [--config FILE] [--family NAME] [--set KEY=VALUE]... [--out DIR]",
      "Trains one family on one data set. Settings come from defaults, then the file, then the\n"
      "command line; an unknown key is an error. The run folder gets config.resolved.ini (runnable\n"
      "again), metrics.jsonl, manifest.json and snapshots. After training the whole held-out split\n"
      "is scored. `kindred options --family NAME` lists every setting.",
      "  kindred train --config experiments/paper_nanogpt_cpu.ini --out runs/nanogpt\n"
      "  kindred train -f ssm -s data.name=kjv -s train.steps=500 -s model.width=64\n"
      "  kindred train -c runs/nanogpt/config.resolved.ini --out runs/nanogpt --resume auto\n");
  line.add_settings_options();
  line.options().add_options()("out,o", po::value<std::string>()->value_name("DIR"),
                               "run folder (default: runs/NAME-HASH of the configuration)")(
      "resume", po::value<std::string>()->value_name("auto|never")->default_value("never"),
      "auto: go on from the newest whole snapshot of the folder, if there is one")(
      "no-eval", "do not score the held-out split at the end")(
      "dry-run", "build everything, print the plan, stop");
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  const std::string resume = line.get<std::string>("resume");
  check(resume == "auto" || resume == "never", "train", "--resume ", resume,
        ": choose auto or never");

  check(
      line.has("config") || line.has("family") || line.has("set"), "train",
      "nothing says what to train; give --config FILE, --family NAME or --set KEY=VALUE (kindred train --help)");

  Run run(line.settings());
  harness::check_eval_options(run);
  const bool quiet = line.json();
  if (!quiet) print_plan(run);
  if (line.has("dry-run")) {
    if (quiet)
      std::cout << nlohmann::json{{"family", run.family().str()},
                                  {"parameters", run.parameter_count()},
                                  {"data", run.spec().name},
                                  {"config", run.resolved()}}
                       .dump(2)
                << '\n';
    return 0;
  }
  refuse_foreign_folder(line, run, resume == "auto");
  const harness::RunDir folder = open_run_folder(line, run);
  const nlohmann::json manifest = write_manifest(folder, run, argc, argv);
  harness::TrainControl control;
  control.dir = folder.path();
  control.label = "train " + run.options().family;
  control.progress = line.progress_mode();
  control.resume = resume == "auto" ? harness::Resume::automatic : harness::Resume::never;
  control.provenance = manifest.dump();
  control.refused = [](const std::string& why) { std::cerr << "refused " << why << '\n'; };
  const harness::TrainReport report = harness::train(run, control);
  if (report.resumed_step > 0 && !quiet)
    std::cout << "resumed from step " << report.resumed_step
              << (report.resumed_step >= run.train_options().steps
                      ? ", which is the end that train.steps sets: nothing was left to do"
                      : "")
              << '\n';
  const harness::Progress& p = run.progress();
  if (report.interrupted) {
    std::cerr << "stopped by a signal at step " << p.step << "; saved in " << folder.path()
              << " (go on with --resume auto)\n";
    return 75;
  }

  nlohmann::json result = {{"family", run.options().family},
                           {"parameters", run.parameter_count()},
                           {"steps", p.step},
                           {"seconds", p.seconds},
                           {"flops", p.flops},
                           {"gflop_per_s", p.seconds > 0 ? p.flops / p.seconds / 1e9 : 0},
                           {"loss", p.loss},
                           {"smoothed_loss", p.smoothed},
                           {"run", folder.path()}};
  if (std::isfinite(report.initial_loss)) {
    result["initial_loss"] = report.initial_loss;
    const double expected = run.objective().expected_initial_loss();
    if (std::isfinite(expected)) result["expected_initial_loss"] = expected;
  }
  if (!quiet) {
    if (result.contains("expected_initial_loss"))
      std::printf("initial loss  %.4f (expected about %.4f)\n", report.initial_loss,
                  result["expected_initial_loss"].get<double>());
    std::printf("trained       %lld steps in %.1f s, %.1f GFLOP/s; loss %.4f (running average)\n",
                static_cast<long long>(p.step), p.seconds, result["gflop_per_s"].get<double>(),
                p.smoothed);
  }
  if (!line.has("no-eval")) result["evaluation"] = evaluate_and_print(run, line, quiet);
  write_json(folder.path() + "/result.json", result);
  if (quiet) {
    std::cout << harness::json_text(result);
  } else {
    std::cout << "run           " << folder.path() << '\n';
  }
  return 0;
}

int eval_command(int argc, char** argv) {
  CommandLine line(
      "kindred eval RUN [--set KEY=VALUE]... | kindred eval RUN --samples [N] [--classifier RUN]",
      "Scores a trained model on held-out data. RUN is a run folder or a snapshot; its configuration\n"
      "is taken from the snapshot, --set changes parts of it (eval.split, eval.lane, eval.limit ...).\n"
      "Every number comes with its kind: exact, bound or estimate.\n"
      "With --samples it draws N samples instead (2000) and compares them with held-out elements: are\n"
      "they alike (MMD, sliced Wasserstein, nearest neighbours), is all there (recall, coverage), are\n"
      "they copies of training elements? --classifier adds the same in the features of a classifier\n"
      "that kindred trained on these images, the Frechet distance (FID) among them.",
      "  kindred eval runs/nanogpt --set eval.lane=stride:32\n"
      "  kindred eval runs/strokes --set data.rate=2     # other data: every second sample\n"
      "  kindred eval out/quickstart/runs/diffusion --set eval.limit=100 --json\n"
      "  kindred train -c experiments/classifier_mnist.ini --out runs/classifier\n"
      "  kindred eval runs/digits --samples 1000 --classifier runs/classifier\n");
  add_trained_options(line);
  add_sample_options(line);
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  if (line.has("samples")) return eval_samples(line);
  refuse_sample_options(line);
  Run run = load_trained(line);
  harness::check_eval_options(run);
  const nlohmann::json result = evaluate_and_print(run, line, line.json());
  if (line.json()) std::cout << harness::json_text(result);
  return 0;
}

}  // namespace kindred::apps
