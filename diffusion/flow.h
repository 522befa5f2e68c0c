// The objective "flow": a coupling flow z = f(x) with an exact density,
//   log p(x) = log prior(f(x)) + log |det df/dx|,
// trained by maximum likelihood or, the gradient of log p in x being a score, by score matching on
// the same parameters (diffusion/matching.h). Symbols k of K levels are dequantised, y = (k + u)/K
// with u ~ U[0, 1)^D, or in logit space x = logit(alpha + (1 - 2 alpha) y) (Dinh et al. 2016): then
// -log p is a bound, E_u[-log p(k + u)] >= -log P(k). B elements, D numbers of one.
#pragma once
#include <string>
#include <vector>

#include "diffusion/coupling.h"
#include "diffusion/matching.h"
#include "harness/objective.h"

namespace kindred::diffusion {

struct FlowConfig {
  CouplingConfig coupling;
  std::string prior = "gaussian", loss = "mle", probe = "rademacher", bound = "mean";
  double alpha = 0, sigma = 0.3;
  int64_t probes = 1, draws = 1;
  bool score_loss = false;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    CouplingConfig::describe(self.coupling, visit);
    visit("prior", self.prior, "of z: gaussian or logistic, of unit scale");
    visit("alpha", self.alpha,
          "symbols: model logit(alpha + (1 - 2 alpha) y) of y in (0, 1), e.g. 0.05; 0: y itself");
    visit("loss", self.loss,
          "mle (maximum likelihood), or score matching: implicit (exact trace), sliced, sliced_vr "
          "(variance-reduced) or denoising; needs a smooth activation");
    visit("probe", self.probe, "sliced: rademacher, gaussian or sphere");
    visit("probes", self.probes, "sliced: random directions an element");
    visit("sigma", self.sigma, "denoising: noise, in units of the data's standard deviation");
    visit("draws", self.draws, "likelihood of symbols: dequantisations of an element");
    visit(
        "bound", self.bound,
        "likelihood of symbols: mean of -log p over the draws, or importance, -log of the mean p: "
        "tighter, and still a bound in the mean");
    visit("score_loss", self.score_loss,
          "likelihood: also report the exact implicit score matching loss (D reverse passes)");
  }
};

enum class FlowPrior { gaussian, logistic };
enum class FlowLoss { mle, implicit, sliced, sliced_vr, denoising };

class FlowObjective final : public harness::Objective {
 public:
  /// Usage error for text, sequences with targets, and options that do not fit.
  FlowObjective(const data::DataSpec& spec, const FlowConfig& config, const NetworkMaker& network,
                const Rng& rng);

  /// mle: nats per number (symbols: the bound on the discrete likelihood). Otherwise the loss of
  /// matching.h for standardised data, a sum over D.
  Tensor loss(const data::Batch& batch, const Rng& rng, bool training) const override;
  harness::Likelihood likelihood(const data::Dataset& data, data::Split split, const Rng& rng,
                                 const harness::LikelihoodOptions& options) const override;
  /// The inverse of the flow at prior samples times options.temperature.
  Tensor sample(const Rng& rng, const harness::SampleOptions& options) const override;
  std::vector<nn::NamedParameter> parameters() override;
  /// Refuses parameters of another map, prior or scale of the data.
  void check_trained(const harness::TrainedOn& trained) const override;

  const CouplingFlow& flow() const { return flow_; }
  /// log p of standardised points x [B, D] -> [B], differentiable in x and the parameters.
  Tensor log_density(const Tensor& x, const harness::Context& context) const;
  /// Its gradient in x.
  Tensor score(const Tensor& x, const harness::Context& context) const;

 private:
  struct Encoded {
    Tensor x;                          ///< [B, D] f32, standardised
    std::vector<double> log_jacobian;  ///< nats: log |dx/d data| of each row, in cells for symbols
  };
  Encoded encode(const data::Batch& batch, const Tensor& u) const;
  /// Rows of u from rng.split(first + row).
  Tensor dequantisation(int64_t rows, const Rng& rng, int64_t first) const;
  void measure(const data::Batch& batch) const;
  Tensor log_prior(const Tensor& z) const;
  /// -log p of each row in nats.
  std::vector<double> row_nats(const Encoded& e) const;
  std::string note(double draw_variance, double symbols) const;

  data::DataSpec spec_;
  FlowConfig config_;
  FlowPrior prior_;
  FlowLoss loss_;
  Probe probe_;
  bool importance_;
  CouplingFlow flow_;
  nn::Parameter centre_, spread_;  ///< [D], of the first batch; spread 0: not measured yet
};

}  // namespace kindred::diffusion
