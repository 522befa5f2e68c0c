// Objective: what is learned. Owns its backbone; gives a loss to train on, a likelihood with its
// kind, and samples. Families are objectives on backbones.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "harness/backbone.h"
#include "harness/parity.h"

namespace kindred::harness {

/// exact: the likelihood itself; bound: at least (bits: the truth is not above); estimate: a
/// stochastic estimate with a standard error. No table or file may drop it.
enum class Kind { exact, bound, estimate };
const char* name(Kind kind);

/// Scores of each element: bits, or what `unit` says, and what kind of number they are. Less is
/// better.
struct Likelihood {
  std::vector<double> bits;     ///< per element (image) or per block of text; MSE: squared errors
  std::vector<double> symbols;  ///< symbols scored in each; MSE: numbers predicted in each
  Kind kind = Kind::exact;
  double evaluations = 0;  ///< network evaluations per element (ODE solvers)
  std::string note;        ///< lane, solver, dequantisation: how the number was made
  std::string unit;        ///< of `bits` a symbol, as "MSE"; empty: DataSpec::unit()
  /// Further figures over everything scored, in the order of a table: accuracy, mse, rmse ...
  std::vector<std::pair<std::string, double>> metrics;
  /// Kinds of those metrics that are likelihoods themselves.
  std::map<std::string, Kind> metric_kinds;
  /// Mean score: bits a symbol, or mean squared error.
  double bits_per_symbol() const;
  /// A metric by name; NaN if there is none.
  double metric(const std::string& name) const;
  /// `unit`, or that of the data.
  std::string unit_on(const data::DataSpec& spec) const;
  /// Standard error of bits_per_symbol over elements.
  double std_error() const;
};

/// What is wrong with a score more than five standard errors below the entropy of its data, which
/// no model can reach; "" if it is not, or the entropy is not known.
std::string entropy_warning(const Likelihood& l, const data::DataSpec& spec);

/// Losses of a stream, in nats, as bits of `blocks` contiguous blocks, kind exact. All text models
/// are scored in these blocks, so that their differences can be paired.
Likelihood blocked_likelihood(std::span<const double> nats, int64_t blocks = 64);

/// The name of a score in files: "bits", or "score" where the unit is another (MSE).
const char* score_key(const std::string& unit);

struct LikelihoodOptions {
  std::string lane = "reset";  ///< text: reset, or stride:S
  int64_t batch = 64;
  int64_t limit = 0;  ///< score only the first elements (0: all)
  double rate = 1;    ///< step of the data relative to training: see Context::rate
  std::function<void(int64_t done, int64_t total)> progress;  ///< may be empty
};

/// The context of scoring passes.
Context scoring_context(const LikelihoodOptions& options);

class Objective;

/// Elements of which a part is given, for models that can complete them.
struct Completion {
  /// i32 or f32 [n, length] in the units of the data; sample k completes row k mod n.
  Tensor values;
  /// [length]: 1 where the value is given; empty: nothing is completed.
  std::vector<uint8_t> known;
  std::string method = "replacement";  ///< or "posterior"
};

/// In SampleOptions::fill: a symbol to draw.
inline constexpr int32_t kGap = -1;

/// How far drawing samples is.
struct SampleProgress {
  int64_t evaluations;  ///< of the network so far, each of the samples that are advanced together
  int64_t expected;     ///< about so many of them in all; 0: not known
  int64_t samples;      ///< that are finished
  int64_t count;        ///< of samples in all
};

struct SampleOptions {
  int64_t count = 16;
  int64_t length = 0;  ///< text: symbols to write (0: the window)
  double temperature = 1;
  int64_t top_k = 0;  ///< 0: off
  double top_p = 1;   ///< 1: off
  std::vector<int32_t> prompt;
  /// mask: instead of prompt and length, the whole of what is wanted, kGap where a symbol is
  /// missing.
  std::vector<int32_t> fill = {};
  int64_t steps = 0;            ///< diffusion: solver steps (0: the objective's default)
  std::string sampler;          ///< diffusion: by name (empty: the default)
  std::vector<int32_t> labels;  ///< class of sample k is labels[k mod size]; empty: unconditional
  double guidance = 0;          ///< weight w of the guidance towards the class
  /// diffusion: a model of p(class | noisy state) that guides towards the labels, if not null
  const Objective* classifier = nullptr;
  Completion completion = {};  ///< diffusion: what is given of each sample
  int64_t batch = 0;           ///< diffusion: samples advanced together, memory only (0: 64)
  /// diffusion: called with the states of samples `first`, first + 1, ... at each step, in the
  /// units of the data (symbols: on [0, levels)), if not empty. sigma: noise level of the states.
  /// The sampler `ode`, whose steps are its own, then stops at the levels of heun.
  std::function<void(int64_t step, double sigma, int64_t first, const Tensor& states)> trace = {};
  /// ar: called with each symbol as soon as it is drawn, if not empty.
  std::function<void(int64_t sample, int32_t symbol)> drawn = {};
  std::function<void(const SampleProgress&)> progress = {};  ///< may be empty
};

/// Tells SampleOptions::progress how far drawing is.
class DrawMeter {
 public:
  /// Samples are advanced in groups of `chunk`; a group takes about `each` evaluations (0: not
  /// known).
  DrawMeter(const SampleOptions& options, int64_t chunk, int64_t each);
  /// Does anybody listen?
  bool wanted() const { return static_cast<bool>(options_.progress); }
  /// One more evaluation, while `finished` samples are.
  void evaluated(int64_t finished);
  /// All samples are finished.
  void done();

 private:
  const SampleOptions& options_;
  int64_t expected_, evaluations_ = 0;
};

/// What a snapshot says of the training behind it.
struct TrainedOn {
  const Settings& settings;
  int64_t levels;  ///< of its data, 0: real values; -1: the snapshot does not say
};

class Objective {
 public:
  virtual ~Objective() = default;
  /// Mean loss of a training batch, a scalar with its graph. In nats per symbol where the loss is a
  /// likelihood.
  virtual Tensor loss(const data::Batch& batch, const Rng& rng, bool training) const = 0;
  /// Share `part` of the loss of a batch whose sequences are cut into `parts` stretches: the shares
  /// add up to the loss, but no gradient flows between them. `state` is empty for part 0 and goes
  /// on to the next. An objective that cannot throws a usage error.
  virtual Tensor loss_part(const data::Batch& batch, const Rng& rng, int64_t part, int64_t parts,
                           State& state) const;
  /// Usage error if it could not be called with so many parts.
  virtual void check_parts(int64_t parts) const;
  /// Scores a split under the current parameters, without a graph.
  virtual Likelihood likelihood(const data::Dataset& data, data::Split split, const Rng& rng,
                                const LikelihoodOptions& options) const = 0;
  /// Symbols [n, length] i32, or real values f32. Sample k depends on (rng, k) only.
  virtual Tensor sample(const Rng& rng, const SampleOptions& options) const = 0;
  /// False: sample() throws, there is nothing to draw.
  virtual bool draws() const { return true; }
  /// What a supervised model says of the elements of a batch: logits [B, T, K] of classes, or real
  /// values [B, T, D] in the units of the data. An objective that predicts no targets throws a
  /// usage error.
  virtual Tensor predict(const data::Batch& batch, const LikelihoodOptions& options) const;
  /// The hidden rows that a classifier reads its classes off, [B, T, C]: what it has learned to see
  /// in the elements of a batch. An objective without such rows throws a usage error.
  virtual Tensor features(const data::Batch& batch, const LikelihoodOptions& options) const;
  /// The outputs of whole sequences against those of single steps. Usage error where there are
  /// none.
  virtual Parity parity(const data::Batch& batch) const;
  /// All parameters and buffers, tied ones once, with stable addresses.
  virtual std::vector<nn::NamedParameter> parameters() = 0;
  /// Called when a snapshot is restored into a run of other settings or data: throws
  /// Fault::snapshot where the parameters would fit but mean something else.
  virtual void check_trained(const TrainedOn&) const {}
  /// Second names of tied parameters: {alias path, canonical path}.
  virtual std::vector<std::pair<std::string, std::string>> aliases() const { return {}; }
  /// What a likelihood of this objective is counted in: "bits/label", "MSE"; empty:
  /// DataSpec::unit().
  virtual std::string score_unit() const { return ""; }
  /// Loss expected at initialisation in nats (NaN: unknown); printed beside the measured one.
  virtual double expected_initial_loss() const;

  /// For the contexts of training passes: see Context::recompute. Changes memory and time only.
  bool recompute = false;
};

struct ObjectiveEntry {
  std::string name;  ///< "ar", "gaussian"
  std::string summary;
  /// `backbone` is a registered name. Settings: [objective] and [model].
  std::function<std::unique_ptr<Objective>(const data::DataSpec&, const std::string& backbone,
                                           Settings&, const Rng&)>
      make;
};
void register_objective(ObjectiveEntry entry);
struct RegisterObjective {
  explicit RegisterObjective(ObjectiveEntry entry) { register_objective(std::move(entry)); }
};
const ObjectiveEntry& find_objective(const std::string& name);
const std::vector<ObjectiveEntry>& objectives();

}  // namespace kindred::harness
