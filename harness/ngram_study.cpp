#include "harness/ngram_study.h"

#include <algorithm>

#include "data/dataset.h"
#include "harness/ngram.h"
#include "harness/objective.h"

namespace kindred::harness {

NamedResults ngram_study(const NgramStudy& options) {
  check(options.order >= 1, "study.order", options.order, "; at least 1");
  check(options.window >= 0, "study.window", options.window, "; 0 or more");
  data::DataOptions source;
  source.name = options.name;
  source.path = options.path;
  source.alphabet = options.alphabet;
  source.context = 1;  // windows of training batches do not matter here
  const auto data = data::open(source);
  check(data->spec().modality == data::Modality::text, "study.name", data->spec().name,
        " is not text");
  const auto orders =
      ngram_losses(data->stream(data::Split::train), data->stream(data::Split::validation),
                   data->spec().levels, options.order, options.window);
  NamedResults results;
  double best = 0;
  for (const NgramLosses& o : orders) {
    const double bits = blocked_likelihood(std::span(o.nats).subspan(1)).bits_per_symbol();
    best = results.empty() ? bits : std::min(best, bits);
    results.emplace_back("bits_" + std::to_string(o.order), bits);
  }
  results.emplace_back("best", best);
  return results;
}

}  // namespace kindred::harness
