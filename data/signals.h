// Signals and the tasks made of them.
//   white signal: band-limited Gaussian noise, the recipe of nengo, HiPPO and S4. With n =
//     ceil(N/2): coefficients c_k complex normal of deviation rms / sqrt 2 a part, c_0 = 0, c_n
//     real, zero above the band limit; divided by sqrt(1 - zeroed / n); x_j = (2n)^(-1/2) sum_k
//     c_k e^(2 pi i j k / 2n) over conjugate pairs; x_j - x_0. It has period 2n.
//   Mackey-Glass (1977): dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x(t), by Euler's rule in
//     steps of 1/10 from a random history 1.2 +- 0.1, 100 samples let pass; tanh(x - 1).
#pragma once
#include <cstdint>
#include <vector>

#include "data/tasks.h"

namespace kindred::data {

/// N samples of a white signal with band limit `frequency` in cycles per source step, sampled every
/// `step` source steps: sample i is the signal at i * step whatever the step. 2 ceil(N step / 2)
/// must be a multiple of the step, and the band limit below the Nyquist limit of the samples (at
/// step 1: not above it).
std::vector<double> white_signal(int64_t samples, double frequency, double step, double rms,
                                 const Rng& rng);
/// N samples, one a unit of time.
std::vector<double> mackey_glass(int64_t samples, const Rng& rng);

/// y_t = x_(t - lag) for the steps t >= lag. Length 4000, lag 1000, 0.25 cycles a step
/// (Gu et al. 2023, "How to train your HiPPO").
Task delay_task(const TaskOptions& options);
/// At the end, the last `lag` samples, oldest first, as channels of one target. Length 4000, lag
/// 1000, 0.1 cycles a step.
Task reconstruct_task(const TaskOptions& options);
/// y_t = x_(t + ahead), by default length 5000 and 15 ahead; or, with a horizon F, `length`
/// samples, then F steps of zeros with a mark in a second channel, whose values are the targets.
Task mackey_glass_task(const TaskOptions& options);
/// The same for a white signal: length 1024, 16 ahead, 0.02 cycles a step, rms 0.5.
Task white_signal_task(const TaskOptions& options);

}  // namespace kindred::data
