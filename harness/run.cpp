#include "harness/run.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <utility>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/op.h"
#include "autodiff/ops/elementwise.h"
#include "autodiff/ops/gemm.h"
#include "autodiff/parallel.h"
#include "autodiff/profile.h"
#include "harness/clock.h"

namespace kindred::harness {

namespace {

struct OptimizerChoice {
  std::string name = "adamw";
  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("name", self.name, "sgd, adam, adamw, lion");
  }
};

bool decays(const std::string& policy, const nn::Parameter& p) {
  if (policy == "matrices") return p.role == nn::Role::matrix;
  if (policy == "nanogpt") return p.value.rank() >= 2 && p.role != nn::Role::dynamics;
  if (policy == "all") return p.role != nn::Role::dynamics;
  if (policy == "none") return false;
  fail(Fault::usage, "config", "train.decay = \"", policy,
       "\"; choose one of matrices, nanogpt, all, none");
}

optim::EmaRule ema_rule(const TrainOptions& train) {
  check(train.ema == 0 || train.ema_halflife == 0, "train.ema", train.ema,
        " and train.ema_halflife ", train.ema_halflife,
        " are two rules for one average; give one of them");
  return {train.ema,
          choose<optim::EmaWarmup>(
              train.ema_warmup,
              {{"ratio", optim::EmaWarmup::ratio}, {"power", optim::EmaWarmup::power}},
              "train.ema_warmup"),
          train.ema_halflife, train.ema_ramp};
}

/// bf16 only makes products faster: where it is not to be had, a run goes on in f32 and says so.
void choose_precision(const std::string& wanted) {
  const std::string obstacle = wanted == "bf16" ? bf16_obstacle() : "";
  set_gemm_precision(wanted == "bf16" && obstacle.empty() ? GemmPrecision::bf16
                                                          : GemmPrecision::f32);
  static bool said = false;
  if (obstacle.empty() || std::exchange(said, true)) return;
  std::cerr << "kindred: run.precision = bf16, but " << obstacle << "; using f32\n";
}

}  // namespace

Run::Run(Settings settings, std::shared_ptr<const data::Dataset> dataset,
         std::vector<OptionHelp>* known) {
  settings.read("run", run_);
  data::DataOptions data_options;
  settings.read("data", data_options);
  settings.read("train", train_);
  settings.read("eval", eval_);
  check(train_.batch > 0, "config", "train.batch must be positive, is ", train_.batch);
  check(train_.chunks > 0, "config", "train.chunks must be positive, is ", train_.chunks);
  check(train_.steps > 0 || train_.seconds > 0, "config", "give train.steps or train.seconds");
  check(run_.precision == "f32" || run_.precision == "bf16", "config", "run.precision = \"",
        run_.precision, "\"; choose f32 or bf16");
  if (run_.threads > 0) set_threads(static_cast<int>(run_.threads));
  choose_precision(run_.precision);

  rng_ = Rng(static_cast<uint64_t>(run_.seed));
  dataset_ = dataset ? std::move(dataset) : data::open(data_options);
  family_ = parse_family(run_.family, spec());
  objective_ = make_family(family_, spec(), settings, rng_);
  objective_->recompute =
      choose<bool>(train_.recompute, {{"none", false}, {"blocks", true}}, "train.recompute");
  if (train_.chunks > 1) objective_->check_parts(train_.chunks);

  OptimizerChoice choice;
  settings.read("optimizer", choice);
  optimizer_ = optim::make_optimizer(choice.name);
  settings.read("optimizer", *optimizer_);
  optim::ScheduleOptions schedule;
  settings.read("schedule", schedule);
  // The last step has the number steps - 1; a single one has nothing to anneal.
  const int64_t last = train_.steps == 1 ? 1 : train_.steps - 1;
  schedule_ = optim::Schedule::make(
      schedule, schedule.clock == "seconds" ? train_.seconds : static_cast<double>(last));
  settings.finish();
  resolved_ = settings.resolved();
  if (known) *known = settings.known();

  std::vector<optim::SlabEntry> entries;
  for (const nn::NamedParameter& p : objective_->parameters()) {
    const bool dynamics = p.parameter->role == nn::Role::dynamics;
    entries.push_back(
        {p.path, &p.parameter->value, decays(train_.decay, *p.parameter),
         dynamics && schedule.lr > 0 ? std::min(1.0, train_.dynamics_lr / schedule.lr) : 1.0,
         p.parameter->role != nn::Role::buffer});
  }
  slab_ = std::make_unique<optim::Slab>(entries);
  optimizer_->attach(*slab_);
  if (const optim::EmaRule rule = ema_rule(train_); rule.decay > 0 || rule.halflife > 0)
    ema_ = std::make_unique<optim::Ema>(*slab_, rule);
}

data::Split Run::eval_split() const {
  if (eval_.split == "validation") return data::Split::validation;
  if (eval_.split == "test") return data::Split::test;
  check(eval_.split == "auto", "config", "eval.split = \"", eval_.split,
        "\"; choose validation, test or auto");
  return spec().modality == data::Modality::text ? data::Split::validation : data::Split::test;
}

double Run::learning_rate() const {
  return schedule_.value(static_cast<double>(progress_.step), progress_.seconds);
}

double Run::budget_used() const {
  double used = train_.steps > 0
                    ? static_cast<double>(progress_.step) / static_cast<double>(train_.steps)
                    : 0;
  if (train_.seconds > 0) used = std::max(used, progress_.seconds / train_.seconds);
  return std::min(used, 1.0);
}
bool Run::finished() const { return budget_used() >= 1; }

std::pair<double, std::vector<Tensor>> Run::loss_and_gradients(const data::Batch& batch,
                                                               const Rng& noise) const {
  if (train_.chunks == 1) {
    const Tensor loss = objective_->loss(batch, noise, /*training=*/true);
    return {loss.item(), grad(loss, slab_->parameters())};
  }
  double value = 0;
  std::vector<Tensor> sums;
  State state;
  for (int64_t part = 0; part < train_.chunks; ++part) {
    const Tensor loss = objective_->loss_part(batch, noise, part, train_.chunks, state);
    value += loss.item();
    for (Tensor& s : state) s = s.detach();
    std::vector<Tensor> gradients = grad(loss, slab_->parameters());
    const NoGrad off;
    for (std::size_t i = 0; i < sums.size(); ++i) gradients[i] = add(sums[i], gradients[i]);
    sums = std::move(gradients);
  }
  return {value, std::move(sums)};
}

double Run::step() {
  const double start = now(), flops = executed_flops();
  const Rng noise = rng_.split("loss").split(static_cast<uint64_t>(progress_.step));
  const data::Batch batch = [&] {
    const ProfileScope profile("(batch)");
    return dataset_->batch(data::Split::train, rng_.split("data"), progress_.step, train_.batch);
  }();
  const auto [value, gradients] = loss_and_gradients(batch, noise);
  if (!std::isfinite(value)) report_non_finite(value);
  const auto outcome = optimizer_->step(*slab_, gradients, learning_rate(), train_.clip);
  if (!outcome.applied) report_non_finite(value);
  const Tensor& seen = batch.symbols.defined() ? batch.symbols : batch.values;
  if (ema_) ema_->update(*slab_, seen.dim(0), progress_.examples);

  gradient_norm_ = outcome.gradient_norm;
  ++progress_.step;
  progress_.examples += seen.dim(0);
  progress_.symbols += seen.dim(0) * spec().length;
  progress_.loss = value;
  progress_.smoothed = progress_.step == 1 ? value : 0.98 * progress_.smoothed + 0.02 * value;
  progress_.flops += executed_flops() - flops;
  progress_.seconds += now() - start;
  return value;
}

void Run::report_non_finite(double loss) {
  const std::string when =
      "at step " + std::to_string(progress_.step) + " (loss " + std::to_string(loss) + ")";
  for (std::size_t i = 0; i < slab_->segments().size(); ++i) {
    const Tensor& p = slab_->parameters()[i];
    for (int64_t k = 0; k < p.numel(); ++k)
      if (!std::isfinite(p.item(k)))
        fail(Fault::numeric, "train", "parameter ", slab_->segments()[i].name, " is not finite ",
             when);
  }
  // The same batch again with a check after every op names the first one that went wrong.
  try {
    FiniteChecks checks;
    const Rng noise = rng_.split("loss").split(static_cast<uint64_t>(progress_.step));
    const data::Batch batch =
        dataset_->batch(data::Split::train, rng_.split("data"), progress_.step, train_.batch);
    const auto gradients = loss_and_gradients(batch, noise).second;
    for (std::size_t i = 0; i < gradients.size(); ++i)
      for (int64_t k = 0; k < gradients[i].numel(); ++k)
        if (!std::isfinite(gradients[i].item(k)))
          fail(Fault::numeric, "grad", "the gradient of ", slab_->segments()[i].name,
               " is not finite");
  } catch (const Error& error) {
    if (error.fault() != Fault::numeric) throw;
    fail(Fault::numeric, "train", "stopped ", when, ": ", error.what(),
         "; a smaller learning rate (schedule.lr) or train.clip usually helps");
  }
  fail(Fault::numeric, "train", "stopped ", when, ": the gradient norm overflowed");
}

Likelihood Run::evaluate(const LikelihoodOptions& options, data::Split split) {
  NoGrad off;
  const optim::EmaScope average(evaluated(), *slab_);
  LikelihoodOptions scored = options;
  scored.rate = eval_.rate;
  Likelihood result = objective_->likelihood(*dataset_, split, rng_.split("evaluation"), scored);
  if (eval_.rate != 1) {
    std::ostringstream note;
    note << result.note << ", rate " << eval_.rate;
    result.note = note.str();
  }
  if (ema_ && !eval_.average) result.note += ", parameters of the last step, not averaged";
  return result;
}

Tensor Run::sample(const SampleOptions& options, uint64_t seed) {
  NoGrad off;
  const optim::EmaScope average(evaluated(), *slab_);
  return objective_->sample(rng_.split("sample").split(seed), options);
}

void Run::with_average(const std::function<void()>& work) {
  const optim::EmaScope average(evaluated(), *slab_);
  work();
}

namespace {
LikelihoodOptions at_rate(double rate) {
  LikelihoodOptions scored;
  scored.rate = rate;
  return scored;
}
}  // namespace

Tensor Run::predict(const data::Batch& batch) {
  NoGrad off;
  const optim::EmaScope average(evaluated(), *slab_);
  return objective_->predict(batch, at_rate(eval_.rate));
}

Tensor Run::features(const data::Batch& batch) {
  NoGrad off;
  const optim::EmaScope average(evaluated(), *slab_);
  return objective_->features(batch, at_rate(eval_.rate));
}

Parity Run::parity(const data::Batch& batch) {
  const optim::EmaScope average(evaluated(), *slab_);
  return objective_->parity(batch);
}

namespace {
/// A line of /proc/self/status, in bytes.
int64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind(key, 0) == 0) return std::stoll(line.substr(key.size())) * 1024;
  return 0;
}
}  // namespace

int64_t rss() { return status_bytes("VmRSS:"); }
int64_t peak_rss() { return status_bytes("VmHWM:"); }
void reset_peak_rss() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5";
}

}  // namespace kindred::harness
