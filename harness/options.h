// Options of a run by section, as users write them in INI files and on the command line.
#pragma once
#include <cstdint>
#include <string>

namespace kindred::harness {

/// [run]
struct RunOptions {
  std::string family = "transformer";
  int64_t seed = 0;
  int64_t threads = 0;
  std::string precision = "f32";

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("family", self.family,
          "transformer, ssm, diffusion, or objective/backbone such as ar/mamba");
    visit("seed", self.seed, "seed of initialisation, data order and noise");
    visit("threads", self.threads, "worker threads; 0 = OMP_NUM_THREADS or all cores");
    visit(
        "precision", self.precision,
        "inputs of matrix products and convolutions: f32, or bf16 (f32 with a note where the processor has none)");
  }
};

/// [train]
struct TrainOptions {
  int64_t steps = 2000;
  double seconds = 0;
  int64_t batch = 32;
  int64_t chunks = 1;
  std::string recompute = "none";
  double clip = 1;
  double ema = 0;
  std::string ema_warmup = "ratio";
  double ema_halflife = 0;
  double ema_ramp = 0.05;
  std::string decay = "matrices";
  double dynamics_lr = 1e-3;
  int64_t log_every = 10;
  int64_t eval_points = 0;
  int64_t eval_limit = 32;
  int64_t snapshot_every = 0;
  double snapshot_seconds = 60;
  int64_t keep_last = 2;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("steps", self.steps, "optimizer steps; the time budget may end training earlier");
    visit("seconds", self.seconds,
          "time budget of training in seconds, evaluation not counted; 0 = none");
    visit("batch", self.batch, "examples a step");
    visit(
        "chunks", self.chunks,
        "stretches that each sequence is cut into (truncated back-propagation): the state goes on from one to "
        "the next, gradients do not; memory of one stretch. Needs ar and a backbone with a state");
    visit(
        "recompute", self.recompute,
        "none, or blocks: keep only the input of each block and compute its inside again for the gradient; "
        "less memory, more time, the same numbers");
    visit("clip", self.clip, "global gradient norm limit; 0 = off");
    visit(
        "ema", self.ema,
        "largest decay d of the parameter average used for evaluation, which looks back over 1 / (1 - d) steps; 0 = off");
    visit(
        "ema_warmup", self.ema_warmup,
        "smaller decays of the first steps n, so that the initial parameters are forgotten: ratio, (1 + n) / (10 + n), "
        "or power, 1 - n^(-2/3)");
    visit(
        "ema_halflife", self.ema_halflife,
        "instead of ema: examples after which a parameter counts half in the average, whatever the batch; 0 = off");
    visit("ema_ramp", self.ema_ramp,
          "the half-life is at most this share of the examples seen so far; 0 = no limit");
    visit(
        "decay", self.decay,
        "what weight decay applies to: matrices, nanogpt (all of 2 or more dimensions), all, none");
    visit(
        "dynamics_lr", self.dynamics_lr,
        "largest learning rate of state-space dynamics (step size, poles); 1 = that of everything else");
    visit("log_every", self.log_every, "steps between lines of metrics.jsonl");
    visit(
        "eval_points", self.eval_points,
        "evaluations on held-out data during training, each at twice the budget of the one before; 0 = none");
    visit("eval_limit", self.eval_limit, "elements scored at each of them (text: symbols)");
    visit("snapshot_every", self.snapshot_every, "steps between snapshots; 0 = by time only");
    visit("snapshot_seconds", self.snapshot_seconds, "seconds between snapshots; 0 = off");
    visit("keep_last", self.keep_last, "snapshots kept");
  }
};

/// [eval]
struct EvalOptions {
  std::string split = "auto";
  std::string lane = "reset";
  int64_t batch = 64;
  int64_t limit = 0;
  double rate = 1;
  bool average = true;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("split", self.split,
          "held-out split: validation, test, or auto (test for images, validation for text)");
    visit("lane", self.lane, "text: reset (windows restart) or stride:S (context carried)");
    visit("batch", self.batch, "elements scored at once");
    visit("limit", self.limit, "score only the first elements; 0 = the whole split");
    visit("rate", self.rate,
          "time between two symbols relative to training: 2 for data at half the sampling rate; "
          "state-space backbones only");
    visit(
        "average", self.average,
        "score and sample with the averaged parameters, if training kept an average (train.ema); false: with those of "
        "the last step");
  }
};

}  // namespace kindred::harness
