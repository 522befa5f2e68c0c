// The studies that `kindred reproduce` knows by name, from the rooms that do the work.
#include "ssm/studies.h"
#include "diffusion/langevin_study.h"
#include "diffusion/sampler_studies.h"
#include "harness/ngram_study.h"
#include "harness/study.h"

namespace kindred::apps {
namespace {

using harness::RegisterStudy;

const RegisterStudy function("hippo_function",
                             "signals rebuilt from the last state of an online projection",
                             ssm::function_approximation);
const RegisterStudy timescale("hippo_timescale",
                              "the same signal read at L, 2L and 4L samples by the scaled LegS",
                              ssm::timescale);
const RegisterStudy delay("hippo_delay_line", "a delay read off a window's state without training",
                          ssm::delay_line);
const RegisterStudy speed("hippo_scan_speed", "elements a second of an online projection",
                          ssm::scan_speed);
const RegisterStudy ranks("hippo_block_ranks", "ranks of the off-diagonal blocks of the measures",
                          ssm::block_rank_table);
const RegisterStudy langevin("langevin_modes",
                             "mode weights and variances of plain, Metropolis-adjusted and "
                             "annealed Langevin dynamics",
                             diffusion::langevin_modes);
const RegisterStudy sampler_order("edm_sampler_order",
                                  "order of accuracy of Euler's and Heun's methods, exact denoiser",
                                  diffusion::sampler_order);
const RegisterStudy churn_correction("edm_churn_correction",
                                     "stochastic sampling with a denoiser that errs",
                                     diffusion::churn_correction);

const RegisterStudy ngram("ngram", "bits a symbol of n-gram counts on a text",
                          harness::ngram_study);

}  // namespace
}  // namespace kindred::apps
