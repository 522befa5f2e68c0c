// The shape of a known data set without its files: settings do not depend on what the symbols are.
#pragma once
#include <memory>

#include "data/dataset.h"

namespace kindred::apps {

/// A data set without elements, of the shape that `options` ask for; nullptr where opening it needs
/// no files or only the user's own.
std::shared_ptr<const data::Dataset> data_outline(const data::DataOptions& options);

}  // namespace kindred::apps
