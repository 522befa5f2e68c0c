// The state of a run to and from a snapshot.
#include <algorithm>
#include <limits>
#include <map>

#include "harness/json.h"
#include "harness/run.h"
#include "harness/snapshot.h"

namespace kindred::harness {

namespace {

/// Every segment of a buffer with the slab's layout, copied out under the parameter's path.
std::vector<PathTensor> unpack(const optim::Slab& slab, const Tensor& buffer) {
  std::vector<PathTensor> out;
  for (std::size_t i = 0; i < slab.segments().size(); ++i)
    out.push_back({slab.segments()[i].name, slab.view(buffer, i).clone()});
  return out;
}

/// Values read from a snapshot and where they belong. Everything is matched before anything is
/// copied, so a snapshot that does not fit leaves the run as it was.
class Staging {
 public:
  void add(const std::string& what, const Tensor& place, const Tensor* value) {
    if (value == nullptr)
      fail(Fault::snapshot, "restore", "the snapshot has no ", what,
           "; it belongs to another model");
    if (value->shape() != place.shape() || value->dtype() != place.dtype())
      fail(Fault::snapshot, "restore", what, " has shape ", value->shape(), " (",
           kindred::name(value->dtype()), ") in the snapshot, the model has ", place.shape(), " (",
           kindred::name(place.dtype()), ')');
    pairs_.emplace_back(place, *value);
  }
  /// All segments of a buffer with the slab's layout; `what` is a prefix for messages.
  void add(const std::string& what, const optim::Slab& slab, const Tensor& buffer,
           const std::vector<PathTensor>& tensors) {
    std::map<std::string, const Tensor*> saved;
    for (const PathTensor& t : tensors) saved[t.path] = &t.value;
    for (std::size_t i = 0; i < slab.segments().size(); ++i) {
      const auto found = saved.extract(slab.segments()[i].name);
      add(what + slab.segments()[i].name, slab.view(buffer, i), found ? found.mapped() : nullptr);
    }
    if (!saved.empty())
      fail(Fault::snapshot, "restore", "the model has no ", what, saved.begin()->first,
           ", the snapshot has; it belongs to another model");
  }
  void copy() {
    for (auto& [place, value] : pairs_) place.copy_from(value);
  }

 private:
  std::vector<std::pair<Tensor, Tensor>> pairs_;
};

}  // namespace

Snapshot Run::capture() {
  Snapshot s;
  s.config = resolved_;
  s.family = run_.family;
  s.objective = family_.objective;
  s.backbone = family_.backbone;
  for (const nn::NamedParameter& p : objective_->parameters()) {
    const bool buffer = p.parameter->role == nn::Role::buffer;
    SnapshotTensor t;
    t.path = p.path;
    t.value = p.parameter->value.clone();
    t.role = nn::name(p.parameter->role);
    t.lr_group = p.parameter->role == nn::Role::dynamics ? "dynamics" : "base";
    t.frozen = buffer;
    (buffer ? s.buffers : s.parameters).push_back(std::move(t));
  }
  s.aliases = objective_->aliases();
  s.optimizer.type = optimizer_->name();
  s.optimizer.step = static_cast<uint64_t>(optimizer_->steps());
  s.optimizer.hyper =
      nlohmann::json{{"learning_rate", learning_rate()}, {"clip", train_.clip}}.dump();
  for (const auto& slot : optimizer_->slots())
    s.optimizer.slots.push_back({slot.name, unpack(*slab_, slot.values)});
  if (ema_)
    s.averages.push_back({.decay = ema_->rule().decay,
                          .updates = static_cast<uint64_t>(ema_->updates()),
                          .tensors = unpack(*slab_, ema_->average()),
                          .warmup = train_.ema_warmup,
                          .halflife = ema_->rule().halflife,
                          .ramp = ema_->rule().ramp});
  s.schedule_kind = schedule_.anneal == optim::Anneal::cosine   ? "cosine"
                    : schedule_.anneal == optim::Anneal::linear ? "linear"
                                                                : "constant";
  s.schedule_params = nlohmann::json{
      {"lr", schedule_.lr},
      {"min_lr", schedule_.min_lr},
      {"warmup", schedule_.warmup},
      {"total",
       schedule_.total}}.dump();
  s.rng.push_back({"run", rng_.key(), static_cast<uint64_t>(progress_.step), 0});
  s.data.name = spec().name;
  s.data.source_sha256 = spec().sha256;
  s.data.levels = spec().levels;
  s.data.perm_key = rng_.split("data").key();
  s.data.global_sample = static_cast<uint64_t>(progress_.examples);
  s.loop.step = static_cast<uint64_t>(progress_.step);
  s.loop.tokens = static_cast<uint64_t>(progress_.symbols);
  s.loop.flops = progress_.flops;
  s.loop.flops_giga = static_cast<uint64_t>(progress_.flops / 1e9);
  s.loop.wall_s = progress_.seconds;
  s.loop.best_value = progress_.smoothed;
  s.loop.status = finished() ? "finished" : "running";
  return s;
}

void Run::restore(const Snapshot& s, bool other_data) {
  if (s.objective != family_.objective || s.backbone != family_.backbone)
    fail(Fault::snapshot, "restore", "the snapshot holds ", s.objective, "/", s.backbone,
         ", the run is ", family_.str());
  if (!other_data && (s.data.source_sha256 != spec().sha256 || s.data.name != spec().name))
    fail(Fault::snapshot, "restore", "the snapshot was trained on ", s.data.name, " (sha256 ",
         s.data.source_sha256, "), the run has ", spec().name, " (", spec().sha256, ")");
  if (s.optimizer.type != optimizer_->name())
    fail(Fault::snapshot, "restore", "the snapshot was trained with ", s.optimizer.type,
         ", the run uses ", optimizer_->name());
  if (s.averages.empty() != (ema_ == nullptr))
    fail(Fault::snapshot, "restore",
         s.averages.empty() ? "the run keeps an average (train.ema), the snapshot has none"
                            : "the snapshot has an average, the run keeps none (train.ema = 0)");

  objective_->check_trained({Settings::from_text(s.config, "snapshot"), s.data.levels});

  Staging staging;
  std::vector<PathTensor> parameters;
  for (const SnapshotTensor& t : s.parameters) parameters.push_back({t.path, t.value});
  staging.add("parameter ", *slab_, slab_->values(), parameters);
  for (const nn::NamedParameter& p : objective_->parameters()) {
    if (p.parameter->role != nn::Role::buffer) continue;
    const auto saved = std::find_if(s.buffers.begin(), s.buffers.end(),
                                    [&](const SnapshotTensor& t) { return t.path == p.path; });
    staging.add("buffer " + p.path, p.parameter->value,
                saved == s.buffers.end() ? nullptr : &saved->value);
  }
  for (const auto& slot : optimizer_->slots()) {
    const auto saved =
        std::find_if(s.optimizer.slots.begin(), s.optimizer.slots.end(),
                     [&](const OptimizerState::Slot& o) { return o.name == slot.name; });
    if (saved == s.optimizer.slots.end())
      fail(Fault::snapshot, "restore", "the snapshot has no optimizer slot ", slot.name);
    staging.add("optimizer slot " + slot.name + ' ', *slab_, slot.values, saved->tensors);
  }
  if (ema_) staging.add("average ", *slab_, ema_->average(), s.averages[0].tensors);
  staging.copy();

  optimizer_->set_steps(static_cast<int64_t>(s.optimizer.step));
  if (ema_) ema_->set_updates(static_cast<int64_t>(s.averages[0].updates));
  progress_.step = static_cast<int64_t>(s.loop.step);
  progress_.examples = static_cast<int64_t>(s.data.global_sample);
  progress_.symbols = static_cast<int64_t>(s.loop.tokens);
  progress_.seconds = s.loop.wall_s;
  progress_.flops = s.loop.flops;
  progress_.smoothed = s.loop.best_value;
  progress_.loss = std::numeric_limits<double>::quiet_NaN();
}

}  // namespace kindred::harness
