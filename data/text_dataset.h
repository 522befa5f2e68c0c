// Text: one stream of symbols, cut once: the first int(0.9 n) symbols are for training, the rest
// are held out (validation; `test` is the same part). Training batches are windows that start
// uniformly in [0, n - T - 1] (the protocol of nanoGPT), drawn by counter, so batch(step) needs no
// state.
#pragma once
#include <memory>
#include <string_view>

#include "data/alphabet.h"
#include "data/dataset.h"

namespace kindred::data {

/// `spec` brings name, sha256 and entropy; the rest is filled in here. Throws Fault::data for a
/// text that is too short for one window of options.context + 1 symbols.
std::shared_ptr<const Dataset> make_text_dataset(DataSpec spec, const Alphabet& alphabet,
                                                 std::vector<int32_t> symbols,
                                                 const DataOptions& options);

/// Drops the first word of every line ("Ge1:1 In the beginning" -> "In the beginning").
std::string without_references(std::string_view text);

}  // namespace kindred::data
