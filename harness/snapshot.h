// Snapshot: everything a run needs to go on bit for bit, as one HDF5 file (format 1.1).
//
//   /                 format, format_major, format_minor, features_required, features_optional,
//                     writer, created_utc, config_sha256, root_digest
//   /model/config     text; attributes family, objective, backbone; /model/aliases
//   /params/<module>/<name>, /buffers/...      tensors with role, lr_group, frozen, axes
//   /optimizer        type, step, hyper; slots/<slot>/<as in params>
//   /ema/<k>/...      decay, updates; since 1.1 warmup, halflife, ramp (see optim/ema.h)
//   /schedule         kind, params; /rng algorithm, streams
//   /data             name, source_sha256, split_rule, perm_key, global_sample, epoch; since 1.1
//   levels /loop             step, tokens, flops, wall_s, ...; /metrics/<set>/{step,<name>}
//   /provenance, /digests
//
// Digests and storage: hdf5_image.h. Readers ignore what they do not know, and refuse a higher
// major version and unknown names in features_required.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "autodiff/tensor.h"
#include "harness/sha256.h"

namespace kindred::harness {

struct SnapshotTensor {
  std::string path;  ///< "backbone.blocks.0.attention.qkv.weight"; dots become groups
  Tensor value;
  std::string role;      ///< "matrix", "bias", ...
  std::string lr_group;  ///< name of the learning-rate group
  std::string axes;      ///< "out,in"; may be empty
  bool frozen = false;
};

struct PathTensor {
  std::string path;
  Tensor value;
};

struct OptimizerState {
  struct Slot {
    std::string name;  ///< "m", "v", "momentum"
    std::vector<PathTensor> tensors;
  };
  std::string type;   ///< "adam", "lion", "sgd"; empty: no optimizer was saved
  uint64_t step = 0;  ///< updates done
  std::string hyper;  ///< JSON
  std::vector<Slot> slots;
};

struct AverageState {
  double decay = 0;
  uint64_t updates = 0;
  std::vector<PathTensor> tensors;
  std::string warmup = "ratio";      ///< the only one of format 1.0
  double halflife = 0, ramp = 0.05;  ///< in examples; as a share of those seen
};

struct RngStream {
  std::string name;  ///< at most 32 bytes
  uint64_t key = 0, counter_low = 0, counter_high = 0;
};

struct DataState {
  std::string name, source_sha256, split_rule;
  uint64_t perm_key = 0, global_sample = 0, epoch = 0;
  int64_t levels = -1;  ///< of its symbols, 0: real values; -1: a file of format 1.0 does not say
};

struct LoopState {
  uint64_t step = 0, micro_step = 0, tokens = 0;
  double flops = 0;  ///< counted so far; rounded to whole GFLOP in flops_giga as well
  uint64_t flops_giga = 0;
  double wall_s = 0;  ///< training seconds over all processes of this run
  double best_value = 0;
  uint64_t best_step = 0, patience_left = 0;
  std::string status;  ///< "running", "finished", "early"
};

struct MetricSet {
  std::string name;  ///< "train"
  std::vector<uint64_t> step;
  std::vector<std::pair<std::string, std::vector<double>>> series;  ///< each as long as step
};

struct Snapshot {
  std::string config;  ///< resolved configuration, itself runnable
  std::string family, objective, backbone;
  std::vector<SnapshotTensor> parameters, buffers;
  std::vector<std::pair<std::string, std::string>> aliases;  ///< {alias path, canonical path}
  OptimizerState optimizer;
  std::vector<AverageState> averages;
  std::string schedule_kind, schedule_params;  ///< learning rate, a pure function of step (JSON)
  std::vector<RngStream> rng;
  DataState data;
  LoopState loop;
  std::vector<MetricSet> metrics;
  std::string provenance;   ///< JSON manifest
  std::string created_utc;  ///< left out of the file when empty (deterministic files)
};

/// The file as bytes. Same content, same bytes. Usage error for paths that cannot be stored.
std::string encode_snapshot(const Snapshot& snapshot);
/// The snapshot of a file's bytes; Fault::snapshot, naming `origin` and the object, if anything in
/// it is damaged, missing or from a newer format.
Snapshot decode_snapshot(std::string_view bytes, const std::string& origin);

/// Encodes, verifies the image by reading it back, and puts it in place by atomic_write. Fault::io
/// on a full disk, with every existing file as it was.
void write_snapshot(const std::string& path, const Snapshot& snapshot);
/// Reads and verifies; a missing or damaged file is Fault::snapshot.
Snapshot read_snapshot(const std::string& path);

/// SHA-256 (hex) of paths, shapes and bits of the parameters, in path order: equal digests, equal
/// models.
std::string parameter_digest(const Snapshot& snapshot);
/// SHA-256 (hex) of all that decides how training goes on: parameters, buffers, optimizer,
/// averages, random streams, data position and loop counters, without times, metrics and
/// provenance.
std::string training_digest(const Snapshot& snapshot);

}  // namespace kindred::harness
