// The likelihood of the objective "gaussian": three numbers for the same model, each in its own
// file (ode_bits.h, ode_bound.h, vdm_bound.h). One of them is the score, the others stand beside
// it.
#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <sstream>

#include "autodiff/choice.h"
#include "autodiff/graph.h"
#include "autodiff/ops/elementwise.h"
#include "diffusion/gaussian.h"
#include "diffusion/gaussian_training.h"
#include "diffusion/model_units.h"
#include "diffusion/ode_bits.h"
#include "diffusion/ode_bound.h"
#include "diffusion/score_excess.h"
#include "diffusion/vdm_bound.h"
#include "harness/config.h"

namespace kindred::diffusion {

namespace {
constexpr int64_t kMeasureElements =
    512;  // training elements that measure sigma_data where no batch did
constexpr int64_t kExactDivergence = 8;       // dimensions up to which "auto" is exact
constexpr int64_t kMostExactDivergence = 64;  // a reverse pass each: beyond, no one would wait
constexpr int64_t kProposalElements = 480;    // training elements that place the draws of sigma
constexpr int64_t kExcessElements = 512;      // that show what errors of the network cost
constexpr int64_t kBlockBatches = 16;         // batches of rows held at once: bounds the memory

using Progress = std::function<void(int64_t done)>;

/// One of the three numbers, over all elements.
struct Number {
  std::string name;  ///< "ode"
  harness::Kind kind;
  std::string note;
  int64_t rows;  ///< of one element
  std::function<Scores(const Elements&, const Progress&)> score;
  Scores scores = {};
};

/// Everything that the three numbers have in common.
struct Scoring {
  const LikelihoodConfig& config;
  const TrainingConfig& trained;
  const data::DataSpec& spec;
  Denoiser denoiser;
  NoiseRange range;
  Rng rng;
  int64_t batch;

  Encoding encoding() const {
    return parse_encoding("objective.bound_encoding", config.bound_encoding == "auto"
                                                          ? trained.encoding
                                                          : config.bound_encoding);
  }
  bool exact() const {
    return config.divergence == "exact" ||
           (config.divergence == "auto" && spec.length <= kExactDivergence);
  }
  FlowOptions flow(const Progress& progress) const {
    FlowOptions options;
    options.ode = {.rtol = config.rtol,
                   .atol = config.rtol,
                   .max_steps = config.max_steps,
                   .batch = batch,
                   .progress = progress};
    options.divergence = exact() ? Divergence::exact : Divergence::hutchinson;
    options.probes = config.divergence_probes;
    options.probe = parse_probe(config.divergence_probe, "objective.divergence_probe");
    return options;
  }

  std::string noise_text() const {
    std::ostringstream text;
    text << "sigma " << range.sigma_min << " to " << range.sigma_max << " in model units";
    return text.str();
  }
  std::string solver_text() const {
    std::ostringstream text;
    text << "probability-flow ODE, Dormand-Prince 5(4), rtol = atol = " << config.rtol << ", "
         << noise_text() << ", ";
    if (exact()) {
      text << "exact divergence";
    } else {
      text << "Hutchinson divergence, " << config.divergence_probes << " "
           << config.divergence_probe << (config.divergence_probes == 1 ? " probe" : " probes")
           << " an element";
    }
    return text.str();
  }
  std::string levels_text() const {
    return std::to_string(spec.levels) + " levels on [-1, 1] as " +
           (encoding() == Encoding::centre ? "centres of their cells" : "uniform in their cells");
  }
  std::string draws_text() const {
    if (config.draws == 1) return "";
    return ", " + std::to_string(config.draws) + " importance-weighted draws";
  }

  Number ode() const {
    const int64_t draws = spec.levels > 0 ? config.draws : 1;
    std::string note = solver_text() + ", not corrected at its end";
    if (spec.levels > 0)
      note += ", uniform dequantisation of " + std::to_string(spec.levels) + " levels on [-1, 1]" +
              draws_text();
    return {"ode", harness::Kind::estimate, note, draws,
            [*this, draws](const Elements& e, const Progress& progress) {
              return ode_bits(denoiser, e, range, rng, draws, flow(progress));
            }};
  }
  Number ode_eps() const {
    std::string note =
        solver_text() + ", with the residual of its end, a bound up to the solver's tolerance";
    if (spec.levels > 0) note += ", " + levels_text();
    // exp of a noisy log p is not unbiased: with several draws only an exact divergence makes a
    // bound.
    const bool bound = exact() || config.draws == 1;
    return {"ode_eps", bound ? harness::Kind::bound : harness::Kind::estimate, note + draws_text(),
            config.draws, [*this](const Elements& e, const Progress& progress) {
              return ode_bound(denoiser, e, encoding(), range, rng.split("ode_eps"), config.draws,
                               flow(progress));
            }};
  }
  /// training: elements to place the noise levels by.
  Number vdm(const Elements& training) const {
    const Rng stream = rng.split("vdm");
    const NoiseProposal proposal =
        learn_proposal(denoiser, training.encoded(encoding(), 1, stream.split("pilot code")), range,
                       stream.split("pilot"), batch);
    std::string note = "variational bound of VDM, " + noise_text() + ", " +
                       (config.vdm_steps > 0 ? std::to_string(config.vdm_steps) + " steps"
                                             : std::string("continuous time")) +
                       ", " + std::to_string(config.vdm_draws) + " noise levels an element";
    if (spec.levels > 0) note += ", " + levels_text();
    return {"vdm", harness::Kind::bound, note, config.vdm_draws,
            [*this, proposal, stream](const Elements& e, const Progress& progress) {
              return vdm_bound(denoiser, e, range, proposal, stream,
                               {.encoding = encoding(),
                                .draws = config.vdm_draws,
                                .steps = config.vdm_steps,
                                .batch = batch,
                                .progress = progress});
            }};
  }
};

/// Standard error over elements of the mean of `bits`, per dimension.
double element_error(const std::vector<double>& bits, int64_t dims) {
  const auto n = static_cast<double>(bits.size());
  const double mean = Scores::per_dimension(bits, 1);
  double squares = 0;
  for (const double b : bits) squares += (b - mean) * (b - mean);
  return std::sqrt(squares / (n * (n - 1))) / static_cast<double>(dims);
}

struct Evaluations {
  double mean, most;
};
Evaluations evaluations_of(const Scores& scores) {
  Evaluations e{0, 0};
  for (const int64_t n : scores.evaluations) {
    e.mean += static_cast<double>(n);
    e.most = std::max(e.most, static_cast<double>(n));
  }
  e.mean /= std::max<double>(1, static_cast<double>(scores.evaluations.size()));
  return e;
}

/// The score, with what there is to know about its making.
void put_score(const Number& number, int64_t dims, harness::Likelihood& result) {
  const Evaluations e = evaluations_of(number.scores);
  result.kind = number.kind;
  result.bits = number.scores.bits;
  result.symbols.assign(result.bits.size(), static_cast<double>(dims));
  result.evaluations = e.mean;
  std::ostringstream note;
  note << number.note << "; " << std::round(10 * e.mean) / 10 << " network evaluations an element, "
       << e.most << " at most";
  const double own = number.scores.own_error(dims);
  note.precision(2);
  if (std::isfinite(own))
    note << "; standard error over " << (number.name == "vdm" ? "noise levels " : "probes ") << own;
  result.note = note.str();
}

/// "bpd_ode" and what belongs to it.
void add_metrics(const Number& number, int64_t dims, harness::Likelihood& result) {
  const std::string key = "bpd_" + number.name;
  const auto add = [&](const std::string& name, double value) {
    if (std::isfinite(value)) result.metrics.emplace_back(name, value);
  };
  add(key, Scores::per_dimension(number.scores.bits, dims));
  result.metric_kinds[key] = number.kind;
  add(key + "_se", element_error(number.scores.bits, dims));
  add(key + (number.name == "vdm" ? "_draws_se" : "_probes_se"), number.scores.own_error(dims));
  for (const auto& [part, bits] : number.scores.parts)
    add(part + "_bpd", Scores::per_dimension(bits, dims));
  const Evaluations e = evaluations_of(number.scores);
  add("nfe_" + number.name, e.mean);
  if (number.name != "vdm") add("nfe_" + number.name + "_max", e.most);
}
}  // namespace

void check_likelihood(const LikelihoodConfig& c, const data::DataSpec& spec) {
  check_word(c.bits, {"ode", "ode_eps", "vdm"}, "objective.bits");
  check_word(c.report, {"main", "all"}, "objective.report");
  check_word(c.divergence, {"auto", "hutchinson", "exact"}, "objective.divergence");
  parse_probe(c.divergence_probe, "objective.divergence_probe");
  check_word(c.bound_encoding, {"auto", "centre", "uniform"}, "objective.bound_encoding");
  const auto positive = [](const char* key, int64_t value, const char* what) {
    check(value >= 1, key, value, ' ', what, "; at least 1");
  };
  check(c.rtol > 0, "objective.rtol", "must be positive, got ", c.rtol);
  positive("objective.divergence_probes", c.divergence_probes, "probes of an element");
  positive("objective.draws", c.draws, "draws of an element");
  positive("objective.vdm_draws", c.vdm_draws, "noise levels of an element");
  positive("objective.max_steps", c.max_steps, "solver steps");
  check(c.vdm_steps >= 0, "objective.vdm_steps", c.vdm_steps, " steps; 0 means continuous time");
  check(c.bits_sigma_min >= 0 && c.bits_sigma_max >= 0, "objective.bits_sigma_min",
        c.bits_sigma_min, " and bits_sigma_max ", c.bits_sigma_max,
        " must not be negative; 0 means that of the path");
  check(c.divergence != "exact" || spec.length <= kMostExactDivergence, "objective.divergence",
        "exact takes a reverse pass for each of ", spec.length,
        " dimensions at every evaluation; at most ", kMostExactDivergence,
        ". Choose hutchinson, with more probes where their noise matters");
  check(spec.levels > 0 || c.draws == 1 || c.bits != "ode", "objective.draws", c.draws,
        " draws, but real values have no cells to draw in; 1 for bits = ode");
}

namespace {
/// Noise levels that a network of this configuration can be asked for: those of its path, whichever
/// of them training draws (draw_min, discrete levels), and those that training draws beyond it. The
/// normal law of the edm weighting has no end; five standard deviations
/// are passed once in three million draws.
std::pair<double, double> trained_sigmas(const TrainingConfig& c, const GaussianPath& path) {
  double low = path.sigma(path.t_min), high = path.sigma(path.t_max);
  if (training_weighting(c) == "edm") {
    low = std::min(low, std::exp(c.p_mean - 5 * c.p_std));
    high = std::max(high, std::exp(c.p_mean + 5 * c.p_std));
  }
  return {low, high};
}

/// `what`: "likelihoods". Both ranges of sigma.
void check_within(Fault fault, const char* what, std::pair<double, double> needed,
                  std::pair<double, double> trained, const char* hint) {
  constexpr double kRounding = 1 + 1e-3;  // the first sigma of ve depends a little on its last
  if (needed.first * kRounding >= trained.first && needed.second <= trained.second * kRounding)
    return;
  fail(fault, "objective gaussian", what, " would need noise levels sigma from ", needed.first,
       " to ", needed.second, ", but the network's path and training reach from ", trained.first,
       " to ", trained.second, " only; ", hint);
}
constexpr const char* kBitsHint = "choose objective.bits_sigma_min and bits_sigma_max within";
}  // namespace

void GaussianObjective::check_scored_range() const {
  const LikelihoodConfig& c = config_.likelihood;
  if (c.bits_sigma_min == 0 && c.bits_sigma_max == 0) return;
  const NoiseRange range = scored_range();
  check(range.sigma_min < range.sigma_max, "objective.bits_sigma_min", range.sigma_min,
        " is not below bits_sigma_max = ", range.sigma_max);
  check_within(Fault::usage, "likelihoods", {range.sigma_min, range.sigma_max},
               trained_sigmas(config_.training, path_), kBitsHint);
}

void GaussianObjective::check_trained(const harness::TrainedOn& trained) const {
  check_same_levels(trained, spec_, "objective gaussian");
  TrainingConfig before;
  harness::Settings settings = trained.settings;
  settings.read("objective", before);
  const GaussianPath path = training_path(before);
  const std::string was = training_scaling(before, path),
                    is = training_scaling(config_.training, path_);
  if (before.network != config_.training.network)
    fail(Fault::snapshot, "objective gaussian", "the snapshot's network is the ", before.network,
         ", these settings read it as the ", config_.training.network,
         "; leave objective.network as trained");
  if (was != is)
    fail(Fault::snapshot, "objective gaussian", "the snapshot's network has the preconditioning ",
         was, ", these settings make it ", is,
         "; leave objective.path and preconditioning as trained");
  const std::pair<double, double> known = trained_sigmas(before, path);
  check_within(Fault::snapshot, "samplers", {path_.sigma(path_.t_sample), path_.sigma(path_.t_max)},
               known, "leave the path and its noise levels as trained, or narrow them");
  const NoiseRange range = scored_range();
  check_within(Fault::snapshot, "likelihoods", {range.sigma_min, range.sigma_max}, known,
               kBitsHint);
}

NoiseRange GaussianObjective::scored_range() const {
  NoiseRange range = noise_range(path_, 1);
  if (data_sd_.value.item() > 0) range.sigma_data = model_sd();
  const double low = config_.likelihood.bits_sigma_min, high = config_.likelihood.bits_sigma_max;
  if (low > 0) range.sigma_min = low;
  if (high > 0) {
    range.sigma_max = high;
    range.prior_sd = std::hypot(high, range.sigma_data);
  }
  return range;
}

harness::Likelihood GaussianObjective::likelihood(const data::Dataset& data, data::Split split,
                                                  const Rng& rng,
                                                  const harness::LikelihoodOptions& options) const {
  check(options.rate == 1, "eval.rate", options.rate,
        ": the objective gaussian scores data at the step they were trained on");
  const NoGrad no_graph;
  if (data_sd_.value.item() <= 0)
    measure(data.elements(data::Split::train, 0,
                          std::min(kMeasureElements, data.size(data::Split::train))));
  const int64_t available = data.size(split);
  const int64_t total = options.limit > 0 ? std::min(options.limit, available) : available;

  const auto elements = [&](data::Split from, int64_t first, int64_t count) {
    const data::Batch rows = data.elements(from, first, count);
    Elements out{
        .levels = {}, .symbols = rows.symbols, .values = {}, .unit = unit(), .first = first};
    if (spec_.levels > 0) {
      out.levels = GreyLevels(spec_.levels);
      return out;
    }
    out.values = rows.values.to(DType::f64);
    for (int64_t i = 0; i < out.values.numel(); ++i) out.values.mutable_data<double>()[i] *= unit();
    return out;
  };

  const Scoring scoring{config_.likelihood,
                        config_.training,
                        spec_,
                        denoiser(),
                        scored_range(),
                        rng,
                        std::max<int64_t>(options.batch, 1)};
  const std::string &main = config_.likelihood.bits, &report = config_.likelihood.report;
  const auto wanted = [&](const char* name) { return report == "all" || main == name; };
  std::vector<Number> numbers;
  if (wanted("ode")) numbers.push_back(scoring.ode());
  if (wanted("ode_eps")) numbers.push_back(scoring.ode_eps());
  if (wanted("vdm")) {
    const int64_t pilot = std::min(kProposalElements, data.size(data::Split::train));
    numbers.push_back(scoring.vdm(elements(data::Split::train, 0, pilot)));
  }

  harness::Likelihood result;
  const auto passes = static_cast<int64_t>(numbers.size());
  for (int64_t pass = 0; pass < passes; ++pass) {
    Number& number = numbers[pass];
    // The solver keeps its batch full inside a block.
    const int64_t block = std::max<int64_t>(1, kBlockBatches * scoring.batch / number.rows);
    for (int64_t first = 0; first < total; first += block) {
      const int64_t count = std::min(block, total - first);
      const auto progress = [&, pass](int64_t rows) {
        const int64_t done = first + std::min(rows / number.rows, count);
        if (options.progress) options.progress((pass * total + done) / passes, total);
      };
      number.scores.append(number.score(elements(split, first, count), progress));
    }
    if (number.name == main) put_score(number, spec_.length, result);
    if (report == "all") add_metrics(number, spec_.length, result);
  }
  if (spec_.levels == 0 && total > 0) {
    const LevelDenoiser truth = [&](const Tensor& x, double sigma) {
      const double to_data = 1 / unit();
      const Tensor s = data.true_score(affine(x, to_data, 0), sigma * to_data);
      return s.defined() ? add(x, scale(s, sigma * sigma * to_data)) : Tensor();
    };
    const double nats = score_excess(scoring.denoiser, truth,
                                     elements(split, 0, std::min(total, kExcessElements)).values,
                                     scoring.range, rng.split("excess"));
    if (std::isfinite(nats))
      result.metrics.emplace_back("excess_bpd",
                                  nats / (std::numbers::ln2 * static_cast<double>(spec_.length)));
  }
  return result;
}

}  // namespace kindred::diffusion
