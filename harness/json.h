// The only place that includes nlohmann/json.hpp. What almost every user of JSON needs, the parser,
// the serializer and the containers of values, is compiled once (json.cpp): a second a translation
// unit.
#pragma once
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace kindred::harness {

/// What json::parse(std::string) reads through.
using JsonText = nlohmann::detail::iterator_input_adapter<std::string::const_iterator>;

}  // namespace kindred::harness

extern template class nlohmann::basic_json<>;
extern template class nlohmann::detail::serializer<nlohmann::json>;
extern template class nlohmann::detail::lexer<nlohmann::json, kindred::harness::JsonText>;
extern template class nlohmann::detail::parser<nlohmann::json, kindred::harness::JsonText>;
extern template class nlohmann::detail::json_sax_dom_parser<nlohmann::json>;
extern template class nlohmann::detail::json_sax_dom_callback_parser<nlohmann::json>;
extern template class std::vector<nlohmann::json>;
extern template class std::map<std::string, nlohmann::json, std::less<>>;
