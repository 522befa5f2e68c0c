// Experiment: a published result in one INI file that `kindred reproduce` runs.
//   [paper]           what is published, and what is run here (struct Paper)
//   [run] [data] ...  settings of the trainings, or [study] options of a study
//   [VARIANT]         what this variant changes: model.init = random; with paper.alone = true all
//                     that it is made of
//   [evaluate.NAME]   a trained variant scored again under other settings: data.rate = 2; or its
//                     samples judged: samples = 2000, classifier = VARIANT
//   [figure.NAME]     a number to compare: value = hippo.accuracy - random.accuracy
// A run gives named results; with variants these are VARIANT.RESULT and VARIANT.EVALUATION.RESULT,
// without them RESULT and EVALUATION.RESULT.
#pragma once
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "harness/config.h"
#include "harness/expression.h"

namespace kindred::harness {

/// [paper]
struct Paper {
  std::string title, citation, claim, scale;
  std::string study = "train", variants, seeds;
  double minutes = 0;

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("title", self.title, "what is reproduced, in a few words");
    visit("citation", self.citation, "authors, year, where the figures stand");
    visit("claim", self.claim, "what the paper says, in one sentence");
    visit("scale", self.scale,
          "the size that was published, the size run here, and why it is smaller");
    visit("study", self.study,
          "train, or the name of a study; a variant may set another as paper.study");
    visit("variants", self.variants,
          "names separated by commas; each has a section of settings. Empty: one run");
    visit("seeds", self.seeds,
          "run.seed of repetitions, separated by commas; figures become their mean");
    visit("minutes", self.minutes, "time it takes on two cores, for --list");
  }
};

/// [figure.NAME], as written.
struct FigureText {
  std::string what, value, unit, paper = "none", paper_source, better;
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();

  template <class Self, class V>
  static void describe(Self& self, V& visit) {
    visit("what", self.what, "what the number is");
    visit("value", self.value, "arithmetic on results");
    visit("unit", self.unit, "of value, paper, low and high");
    visit("paper", self.paper, "the published number, or none");
    visit("paper_source", self.paper_source, "where it is printed");
    visit("better", self.better, "higher or lower; empty: neither");
    visit("low", self.low, "smallest value in the band");
    visit("high", self.high, "largest value in the band");
  }
};

struct Figure {
  std::string name;
  FigureText text;
  Expression value;
  std::optional<double> paper;
  bool has_band() const { return std::isfinite(text.low) || std::isfinite(text.high); }
};

struct Evaluation {
  std::string name;
  std::vector<std::string> variants;  ///< those that are scored so; empty: all
  int64_t samples = 0;                ///< above 0: this many samples are judged, nothing is scored
  std::string classifier;  ///< an earlier variant in whose features they are judged, or empty
  Settings changes;
  /// What its results depend on beside the trained models.
  std::string text() const;
};

struct Variant {
  std::string name;    ///< "" where the experiment has none
  std::string study;   ///< "train" or a registered study
  bool alone = false;  ///< without the settings that the other variants share
  Settings settings;   ///< complete
  std::vector<Evaluation> evaluations;
};

struct Experiment {
  Paper paper;
  std::vector<int64_t> seeds;  ///< empty: the seed of the settings
  std::vector<Variant> variants;
  std::vector<Figure> figures;
};

/// Reads a whole file; every mistake in [paper], [figure.*] and the names is a usage error.
/// Settings of trainings are checked by the Run that is made from them.
Experiment parse_experiment(const Settings& file);

/// The settings of the one training of a file, without what only `reproduce` reads; other settings
/// pass through. Usage error for a file with variants or a study, naming `kindred reproduce`.
Settings training_settings(const Settings& file);

/// Value of a figure over the seeds, and where it lies.
struct Judgement {
  std::vector<double> values;
  double mean = 0;
  std::optional<double> std_error;  ///< of the mean over two or more seeds
  bool inside = false;              ///< within the band; also if there is none
  std::string verdict;  ///< "in band", "below band (worse)", "no band", "not finite" ...
};
Judgement judge(const Figure& figure, std::vector<double> values);

}  // namespace kindred::harness
