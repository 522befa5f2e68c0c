// The likelihood of the objective "gaussian": bits of held-out elements by the probability-flow
// equation.
#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>

#include "autodiff/graph.h"
#include "diffusion/gaussian.h"
#include "diffusion/likelihood.h"

namespace kindred::diffusion {

namespace {
constexpr int64_t kMeasureElements =
    512;  // training elements that measure sigma_data where no batch did
constexpr int64_t kExactDivergence = 8;  // dimensions up to which "auto" is exact
}  // namespace

harness::Likelihood GaussianObjective::likelihood(const data::Dataset& data, data::Split split,
                                                  const Rng& rng,
                                                  const harness::LikelihoodOptions& options) const {
  check(options.rate == 1, "eval.rate", options.rate,
        ": the objective gaussian scores data at the step they were trained on");
  const NoGrad no_graph;
  if (data_sd_.value.item() <= 0)
    measure(data.elements(data::Split::train, 0,
                          std::min(kMeasureElements, data.size(data::Split::train))));
  const int64_t dims = spec_.length, available = data.size(split);
  const int64_t total = options.limit > 0 ? std::min(options.limit, available) : available;
  const bool exact = config_.likelihood.divergence == "exact" ||
                     (config_.likelihood.divergence == "auto" && dims <= kExactDivergence);

  FlowOptions flow_options;
  flow_options.ode.rtol = flow_options.ode.atol = config_.likelihood.rtol;
  flow_options.ode.max_steps = config_.likelihood.max_steps;
  flow_options.ode.batch = options.batch;
  flow_options.divergence = exact ? Divergence::exact : Divergence::hutchinson;
  const NoiseRange range = noise_range(path_, model_sd());
  const Denoiser denoise_with = denoiser();

  harness::Likelihood result;
  result.kind = harness::Kind::estimate;
  double evaluations = 0;
  // Blocks bound the memory; inside one the solver keeps its batch full.
  const int64_t block = 16 * std::max<int64_t>(options.batch, 1);
  for (int64_t first = 0; first < total; first += block) {
    const int64_t count = std::min(block, total - first);
    const data::Batch batch = data.elements(split, first, count);
    Tensor x;
    if (spec_.levels > 0) {
      x = dequantise(batch.symbols, spec_.levels, rng.split("dequantise"), first);
    } else {
      x = batch.values.to(DType::f64);
      for (int64_t i = 0; i < x.numel(); ++i) x.mutable_data<double>()[i] *= unit();
    }
    if (options.progress)
      flow_options.ode.progress = [&](int64_t done) { options.progress(first + done, total); };
    const LogDensity density =
        log_density(denoise_with, x, range, rng.split("probe"), first, flow_options);
    for (int64_t i = 0; i < count; ++i) {
      const double bits = spec_.levels > 0 ? bits_of(density.nats[i], dims, spec_.levels)
                                           : -density.nats[i] / std::numbers::ln2 -
                                                 static_cast<double>(dims) * std::log2(unit());
      result.bits.push_back(bits);
      result.symbols.push_back(static_cast<double>(dims));
      evaluations += static_cast<double>(density.evaluations[i]);
    }
  }
  result.evaluations = evaluations / std::max<double>(1, static_cast<double>(total));
  std::ostringstream note;
  note << "probability-flow ODE, Dormand-Prince 5(4), rtol = atol = " << config_.likelihood.rtol
       << ", eps: sigma = " << range.sigma_min << ", "
       << (exact ? "exact divergence" : "Hutchinson divergence, 1 Rademacher probe an element");
  if (spec_.levels > 0) note << ", uniform dequantisation of " << spec_.levels << " levels";
  result.note = note.str();
  return result;
}

}  // namespace kindred::diffusion
