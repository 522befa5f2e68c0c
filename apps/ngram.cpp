// kindred ngram: Witten-Bell n-gram models of a text, counted on its training part and scored on
// the held-out part. Exact and without a seed: the floor that a trained model has to beat.
#include <cmath>
#include <cstdio>
#include <iostream>

#include "apps/command.h"
#include "data/dataset.h"
#include "harness/json.h"
#include "harness/ngram.h"

namespace kindred::apps {

int ngram_command(int argc, char** argv) {
  CommandLine line(
      "kindred ngram --data NAME [--path FILE] [--max-order N]",
      "Counts n-grams on the training part of a text and scores the held-out part with Witten-Bell\n"
      "smoothing, for the orders 1 to N. A neural model worth its time is below the best of them.",
      "  kindred ngram --data kjv --max-order 8\n"
      "  kindred ngram --data text --path my.txt --json\n");
  line.options().add_options()("data", po::value<std::string>()->value_name("NAME")->required(),
                               "text data set (kindred data list), or text with --path")(
      "path", po::value<std::string>()->default_value("")->value_name("FILE"),
      "the text, if it is a file of yours")("alphabet",
                                            po::value<std::string>()->default_value("auto"),
                                            "auto, bytes, ascii, utf8, chars")(
      "max-order", po::value<int64_t>()->default_value(6)->value_name("N"), "largest order");
  line.add_output_options();
  if (!line.parse(argc, argv)) return 0;
  data::DataOptions options;
  options.name = line.get<std::string>("data");
  options.path = line.get<std::string>("path");
  options.alphabet = line.get<std::string>("alphabet");
  options.context = 1;  // windows do not matter here; a short text has none of the default length
  const auto dataset = data::open(options);
  const data::DataSpec& spec = dataset->spec();
  check(spec.modality == data::Modality::text, "ngram", spec.name, " is not text");
  const auto scores = harness::ngram_scores(dataset->stream(data::Split::train),
                                            dataset->stream(data::Split::validation), spec.levels,
                                            line.get<int64_t>("max-order"));
  nlohmann::json orders = nlohmann::json::array();
  if (!line.json())
    std::printf("%s, %lld symbols\norder  nats/char  bits/char\n", spec.name.c_str(),
                static_cast<long long>(spec.levels));
  for (const auto& s : scores) {
    orders.push_back({{"order", s.order},
                      {"nats_per_symbol", s.nats_per_symbol},
                      {"bits_per_symbol", s.nats_per_symbol / std::log(2.0)},
                      {"targets", s.targets},
                      {"kind", "exact"}});
    if (!line.json())
      std::printf("%5lld  %9.4f  %9.4f\n", static_cast<long long>(s.order), s.nats_per_symbol,
                  s.nats_per_symbol / std::log(2.0));
  }
  if (line.json()) {
    std::cout << nlohmann::json{{"data", spec.name},
                                {"smoothing", "witten-bell"},
                                {"orders", orders}}
                     .dump(2)
              << '\n';
  } else {
    std::printf("targets=%lld\n", static_cast<long long>(scores.front().targets));
  }
  return 0;
}

}  // namespace kindred::apps
