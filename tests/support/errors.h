// What was thrown.
#pragma once
#include <catch2/catch.hpp>
#include <string>

#include "autodiff/check.h"

namespace kindred::test {

/// The message of the Error that f throws; "" if it throws none.
template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

/// The same where an Error of this kind is due; anything else fails the test.
template <class F>
std::string message_of(Fault fault, F&& f) {
  try {
    f();
  } catch (const Error& error) {
    INFO(error.what());
    CHECK(error.fault() == fault);
    return error.what();
  }
  FAIL_CHECK("nothing was thrown");
  return "";
}

inline auto has(const std::string& part) { return Catch::Matchers::Contains(part); }

}  // namespace kindred::test
