// The study "ngram": counts as a yardstick inside experiments.
#pragma once
#include <cstdint>
#include <string>

#include "harness/study.h"

namespace kindred::harness {

struct NgramStudy {
  std::string name = "kjv", path, alphabet = "auto";
  int64_t order = 6, window = 0;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("name", self.name, "text data set, as data.name");
    visit("path", self.path, "the text, if it is a file of yours");
    visit("alphabet", self.alphabet, "as data.alphabet");
    visit("order", self.order, "largest order");
    visit(
        "window", self.window,
        "contexts restart every so many symbols, like those of a model with data.context = window; "
        "0: they are carried on");
  }
};

/// Witten-Bell n-grams (ngram.h) counted on the training part, scored on the symbols of the
/// held-out part that models predict: all but the first. Results bits_1 ... bits_ORDER a symbol,
/// and best.
NamedResults ngram_study(const NgramStudy& options);

}  // namespace kindred::harness
