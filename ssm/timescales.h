// What state-space layers look back on, in steps of the data. A mode with pole lambda and step size
// dt falls to 1/e in 1/(dt |Re lambda|) steps and turns dt |Im lambda| / (2 pi) times a step. Of s4
// these are the poles of the normal part of A; its low-rank part moves them.
// H channels, S copies of M poles, or P poles that all channels share (s5).
#pragma once
#include <string>
#include <utility>
#include <vector>

#include "autodiff/tensor.h"

namespace kindred::ssm {

struct Timescales {
  std::string layer;  ///< path of the layer: "backbone.blocks.0.layer"
  double dt_min = 0, dt_median = 0, dt_max = 0;
  bool poles = false;  ///< false (dense matrices): the rest is unknown
  double slowest = 0;  ///< steps in which the slowest mode falls to 1/e
  double median = 0;   ///< the same of the median mode
  double fastest = 0;  ///< cycles a step of the fastest mode
  double aliased = 0;  ///< fraction of modes above half a cycle a step, which samples cannot tell
                       ///< from slower ones
};

/// One entry for each layer among the parameters of a model, {path, values}, in their order; layers
/// are known by their log_dt, poles by log_neg_re and im beside it. Mamba has none: its steps
/// depend on its inputs.
std::vector<Timescales> timescales(const std::vector<std::pair<std::string, Tensor>>& parameters);

}  // namespace kindred::ssm
