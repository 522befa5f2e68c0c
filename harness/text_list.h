// Lists in settings: "wide, narrow" -> {"wide", "narrow"}.
#pragma once
#include <string>
#include <vector>

namespace kindred::harness {

/// The parts of `text` between commas, without blanks around them; empty parts are left out.
std::vector<std::string> split_list(const std::string& text);

}  // namespace kindred::harness
