#include "harness/progress.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <sstream>

using namespace kindred::harness;

namespace {
struct Screen {
  std::ostringstream text;
  double now = 0;
  int width = 80;
  ProgressOutput output(bool unicode = false) {
    return {&text, [this] { return now; }, [this] { return width; }, unicode};
  }
  /// What a terminal shows after the last carriage return, without the erase code.
  std::string last() const {
    std::string s = text.str();
    while (!s.empty() && s.back() == '\n') s.pop_back();
    s = s.substr(s.rfind('\r') + 1);
    return s.substr(0, s.find('\x1b'));
  }
};
}  // namespace

TEST_CASE("a bar shows percent, count, elapsed, remaining time, rate and text") {
  Screen screen;
  ProgressBar bar("train", 1000, ProgressMode::bar, 0, screen.output());
  screen.now = 10;
  bar.update(250, "loss 1.470");
  // 25 steps a second, 750 left: 30 s. 80 - 1 columns, less head (11), tail (45) and the two bars:
  // 21 cells.
  CHECK(screen.last() ==
        "train:  25%|#####                | 250/1000 [00:10<00:30, 25.0it/s, loss 1.470]");
  screen.width = 40;
  screen.now = 20;
  bar.update(500, "loss 1.400");
  CHECK(screen.last() == "train:  50% 500/1000 [00:20<00:20, 25.0");
  CHECK(screen.last().size() < 40);
  screen.width = 70;
  screen.now = 40;
  bar.update(1000);
  bar.finish();
  CHECK(screen.text.str().back() == '\n');
  CHECK(screen.last().find("100%|") != std::string::npos);
  CHECK(screen.last().find(" 1000/1000 [00:40<00:00, 25.0it/s]") != std::string::npos);
  const auto size = screen.text.str().size();
  bar.update(1001);
  bar.finish();
  CHECK(screen.text.str().size() == size);
}

TEST_CASE("block characters fill by eighths and count as one column") {
  Screen screen;
  ProgressBar bar("x", 100, ProgressMode::bar, 0, screen.output(true));
  screen.width = 52;  // 51 - 7 - 31 - 2: 11 cells, 5.5 full
  screen.now = 1;
  bar.update(50);
  CHECK(screen.last() == "x:  50%|█████▌     | 50/100 [00:01<00:01, 50.0it/s]");
}

TEST_CASE("redraws are limited, lines come every ten seconds") {
  Screen screen;
  ProgressBar bar("t", 10000, ProgressMode::bar, 0, screen.output());
  for (int i = 1; i <= 1000; ++i) {
    screen.now = i * 0.001;
    bar.update(i);
  }
  const std::string drawn = screen.text.str();
  CHECK(std::count(drawn.begin(), drawn.end(), '\r') <= 11);

  Screen log;
  ProgressBar lines("t", 100, ProgressMode::lines, 0, log.output());
  for (int i = 1; i <= 35; ++i) {
    log.now = i;
    lines.update(i, "loss 2");
  }
  lines.finish();
  CHECK(log.text.str() ==
        "t:  10% 10/100 [00:10<01:30, 1.0it/s, loss 2]\n"
        "t:  20% 20/100 [00:20<01:20, 1.0it/s, loss 2]\n"
        "t:  30% 30/100 [00:30<01:10, 1.0it/s, loss 2]\n"
        "t:  35% 35/100 [00:35<01:05, 1.0it/s, loss 2]\n");
}

TEST_CASE("a time budget gives the percentage and the time left") {
  Screen screen;
  auto bar = ProgressBar::for_seconds("fit", 90, ProgressMode::lines, 30, screen.output());
  screen.now = 15;
  bar.update(3, "loss 1");
  CHECK(screen.text.str() == "fit:  50% 3it [00:45<00:45, 5.00s/it, loss 1]\n");
}

TEST_CASE("a resumed job does not count earlier steps in its rate") {
  Screen screen;
  ProgressBar bar("r", 200, ProgressMode::lines, 100, screen.output());
  screen.now = 10;
  bar.update(150);
  CHECK(screen.text.str() == "r:  75% 150/200 [00:10<00:10, 5.0it/s]\n");
}

TEST_CASE("silent writes nothing; an unfinished bar ends its line") {
  Screen screen;
  {
    ProgressBar silent("s", 10, ProgressMode::silent, 0, screen.output());
    screen.now = 100;
    silent.update(5);
    silent.finish();
  }
  CHECK(screen.text.str().empty());
  {
    ProgressBar bar("s", 10, ProgressMode::bar, 0, screen.output());
    bar.update(5);
  }
  CHECK(screen.text.str().back() == '\n');
  Screen unknown;
  ProgressBar open_end("u", 0, ProgressMode::lines, 0, unknown.output());
  unknown.now = 4000;
  open_end.update(8000);
  CHECK(unknown.text.str() == "u:  8000it [1:06:40<?, 2.0it/s]\n");
}
