#include "apps/bench/pairing.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace kindred::apps::bench {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

std::vector<double> ratios(const std::vector<double>& first, const std::vector<double>& second) {
  std::vector<double> all;
  for (std::size_t i = 0; i < first.size(); ++i) all.push_back(first[i] / second[i]);
  return all;
}

double turn(Child& child, int steps) {
  return median(
      child.numbers("steps " + std::to_string(steps), "ms", static_cast<std::size_t>(steps)));
}

int turn_length(Child& child) {
  turn(child, 1);
  const double ms = std::max(turn(child, 2), 1e-3);
  return static_cast<int>(std::clamp(std::ceil(500 / ms), 1.0, 10000.0));
}

std::vector<std::vector<double>> take_turns(const std::vector<Side>& sides, int rounds,
                                            const std::function<void()>& after) {
  std::vector<std::vector<double>> taken(sides.size());
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t i = 0; i < sides.size(); ++i)
      taken[i].push_back(turn(*sides[i].child, sides[i].steps));
    after();
  }
  return taken;
}

std::vector<Candidate> peer_candidates(int threads, const std::string& precision) {
  const std::string all = std::to_string(threads);
  const char* const core = std::getenv("OPENBLAS_CORETYPE");
  std::vector<std::string> cores{core ? std::string("OPENBLAS_CORETYPE=") + core : ""};
  if (core) cores.emplace_back("OPENBLAS_CORETYPE");  // the name alone: unset
  std::vector<std::string> blas{"1"}, precisions{"f32"};
  std::vector<std::string> waits{""};
  if (threads > 1) {
    blas.push_back(all);
    waits = {"", "OMP_WAIT_POLICY=passive", "GOMP_SPINCOUNT=3000"};
  }
  if (precision == "bf16") precisions.emplace_back("bf16");
  std::vector<Candidate> candidates;
  for (const std::string& p : precisions)
    for (const std::string& c : cores)
      for (const std::string& b : blas)
        for (const std::string& wait : waits) {
          Candidate next{
              "OPENBLAS_NUM_THREADS=" + b,
              p,
              {"OMP_NUM_THREADS=" + all, "OPENBLAS_NUM_THREADS=" + b, "PYTHONDONTWRITEBYTECODE=1"}};
          for (const std::string variable : {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"})
            next.environment.push_back(wait.starts_with(variable) ? wait : variable);
          if (!wait.empty()) next.name += " " + wait;
          if (!c.empty()) {
            next.environment.push_back(c);
            next.name += c.find('=') == std::string::npos ? " OPENBLAS_CORETYPE unset" : " " + c;
          }
          if (p == "bf16") next.name += " autocast";
          candidates.push_back(next);
        }
  return candidates;
}

}  // namespace kindred::apps::bench
