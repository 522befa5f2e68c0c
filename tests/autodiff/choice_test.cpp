#include "autodiff/choice.h"

#include <catch2/catch.hpp>

using namespace kindred;

TEST_CASE("choices: a word that is nearly one of them is guessed, another is not") {
  CHECK(nearest("atention", {"s4", "attention", "unet"}) == "attention");
  CHECK(nearest("unte", {"s4", "attention", "unet"}) == "unet");
  CHECK(nearest("xyz", {"attention"}).empty());
  CHECK(nearest("word", {}).empty());
  CHECK(did_you_mean("mnst", {"mnist", "kjv"}) == "; did you mean mnist?");
  CHECK(did_you_mean("mnst", {"kjv"}).empty());
}
