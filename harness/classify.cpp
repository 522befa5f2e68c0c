#include "harness/classify.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "autodiff/graph.h"
#include "autodiff/ops/cross_entropy.h"
#include "autodiff/ops/layout.h"
#include "harness/config.h"

namespace kindred::harness {

namespace {
constexpr double kStd = 0.02;

/// Counts of the scored targets by class, and how many of them were named right.
struct Tally {
  explicit Tally(int64_t classes) : of_class(static_cast<std::size_t>(classes)) {}
  std::vector<int64_t> of_class;
  int64_t scored = 0, right = 0, elements = 0, all_right = 0;
};

/// The largest of K logits; the first of equal ones.
int32_t winner(const float* logits, int64_t K) {
  return static_cast<int32_t>(std::max_element(logits, logits + K) - logits);
}
}  // namespace

Tensor class_targets(const data::Batch& batch, const data::DataSpec& spec) {
  const Tensor& given = batch.targets.defined() ? batch.targets : batch.labels;
  check(given.defined(), "classify", "the data \"", spec.name, "\" gave no labels");
  const int64_t B = given.dim(0);
  check(given.dtype() == DType::i32 && given.numel() == B * spec.targets, "classify",
        "wants targets i32 [B, ", spec.targets, "], got ", given.shape());
  return reshape(given, {B, spec.targets});
}

Classify::Classify(const data::DataSpec& spec, const SupervisedSettings& own,
                   const BackboneEntry& entry, Settings& settings, const Rng& rng)
    : spec_(spec),
      net_(spec, own.config, own.width, entry, settings, rng),
      head_(nn::Linear::make(own.width, spec.classes, true, rng.split("head"), kStd)) {}

Tensor Classify::logits(const data::Batch& batch, const Context& context) const {
  return head_(net_.rows(batch, context));
}

Tensor Classify::loss(const data::Batch& batch, const Rng& rng, bool training) const {
  return cross_entropy(logits(batch, supervised_context(rng, training, recompute)),
                       class_targets(batch, spec_));
}

Likelihood Classify::likelihood(const data::Dataset& data, data::Split split, const Rng&,
                                const LikelihoodOptions& options) const {
  const NoGrad no_grad;
  const int64_t T = spec_.targets, K = spec_.classes;
  Likelihood result;
  Tally tally(K);
  for_each_batch(data, split, options, [&](const data::Batch& batch, int64_t count) {
    const Tensor target = class_targets(batch, spec_), z = logits(batch, scoring_context(options));
    const Tensor losses = token_nll(z, target);
    for (int64_t b = 0; b < count; ++b) {
      double nats = 0;
      int64_t scored = 0, right = 0;
      for (int64_t t = 0; t < T; ++t) {
        const int64_t at = b * T + t;
        const int32_t truth = target.data<int32_t>()[at];
        if (truth < 0) continue;
        const double loss = losses.item(at);
        if (!std::isfinite(loss))
          fail(Fault::numeric, "likelihood", "-ln p of a label is ", loss,
               "; the model has diverged");
        nats += loss;
        ++scored;
        right += winner(z.data<float>() + at * K, K) == truth;
        ++tally.of_class[static_cast<std::size_t>(truth)];
      }
      result.bits.push_back(nats / std::log(2.0));
      result.symbols.push_back(static_cast<double>(scored));
      tally.scored += scored;
      tally.right += right;
      ++tally.elements;
      tally.all_right += right == scored;
    }
  });
  check(tally.scored > 0, "likelihood", "no labels to score in ", data::name(split));
  const auto scored = static_cast<double>(tally.scored);
  const auto most =
      static_cast<double>(*std::max_element(tally.of_class.begin(), tally.of_class.end()));
  result.evaluations = 1;
  result.unit = score_unit();
  result.metrics = {{"accuracy", static_cast<double>(tally.right) / scored}};
  if (T > 1)
    result.metrics.emplace_back(
        "exact_match", static_cast<double>(tally.all_right) / static_cast<double>(tally.elements));
  char chance[96];
  std::snprintf(chance, sizeof chance,
                "; guessing is right in %.4f, the most frequent class in %.4f",
                1 / static_cast<double>(K), most / scored);
  result.note = std::to_string(K) + " classes, " + net_.readout() + chance;
  return result;
}

Tensor Classify::sample(const Rng&, const SampleOptions&) const {
  fail(Fault::usage, "sample", "classify has nothing to draw; use kindred predict");
}

Tensor Classify::predict(const data::Batch& batch, const LikelihoodOptions& options) const {
  return logits(batch, scoring_context(options));
}

Tensor Classify::features(const data::Batch& batch, const LikelihoodOptions& options) const {
  return net_.rows(batch, scoring_context(options));
}

Parity Classify::parity(const data::Batch& batch) const { return net_.parity(batch, head_); }

std::vector<nn::NamedParameter> Classify::parameters() {
  std::vector<nn::NamedParameter> found;
  net_.parameters(found);
  for (const nn::NamedParameter& p : nn::parameters_of(head_, "head")) found.push_back(p);
  return found;
}

double Classify::expected_initial_loss() const {
  return std::log(static_cast<double>(spec_.classes)) +
         kStd * kStd * static_cast<double>(net_.width()) / 2;
}

namespace {
std::unique_ptr<Objective> make_classify(const data::DataSpec& spec, const std::string& backbone,
                                         Settings& settings, const Rng& rng) {
  check(spec.classes > 0 && spec.target_channels == 0, "classify", "data \"", spec.name,
        "\" have no classes; ",
        spec.target_channels > 0 ? "their targets are real numbers: choose the objective forecast"
                                 : "choose data with labels (kindred data list)");
  const SupervisedSettings own = read_supervised(settings);
  return std::make_unique<Classify>(spec, own, find_backbone(backbone), settings, rng);
}

const RegisterObjective registered({"classify",
                                    "classes of sequences and images; exact bits per label and "
                                    "accuracy",
                                    make_classify});
}  // namespace

}  // namespace kindred::harness
