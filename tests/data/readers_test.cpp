// Files, gzip, SHA-256, IDX and CSV.
#include "data/csv.h"
#include "data/idx.h"
#include "tests/data/support.h"

using namespace kindred;
using namespace kindred::data;
using namespace kindred::test;

TEST_CASE("SHA-256 of known texts (FIPS 180-4)", "[data]") {
  CHECK(sha256("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(sha256_key("abc") == 0xba7816bf8f01cfeaull);
}

TEST_CASE("missing and unreadable files are data errors that name the path", "[data]") {
  const TempFolder folder;
  const auto path = folder / "absent.bin";
  CHECK_THAT(message_of(Fault::data, [&] { read_file(path); }), has(path));
  CHECK_THAT(message_of(Fault::data, [&] { read_file(folder / ""); }), has("not a regular file"));
  CHECK_THAT(message_of(Fault::io, [&] { write_file(folder / "no/such/folder", "x"); }),
             has("cannot be written"));
}

TEST_CASE("gzip is inflated, truncation and damage are found", "[data]") {
  std::string text;
  for (int i = 0; i < 40000; ++i) text += std::to_string(i * 2654435761u);
  const std::string packed = gzip(text);
  CHECK(gunzip(packed, "x") == text);
  CHECK(gunzip(packed + gzip("more"), "x") == text + "more");
  CHECK(gunzip("plain", "x") == "plain");
  CHECK(gunzip("", "x").empty());
  for (std::size_t cut : {std::size_t{3}, std::size_t{11}, packed.size() / 2, packed.size() - 1})
    CHECK_THAT(message_of(Fault::data, [&] { gunzip(packed.substr(0, cut), "t.gz"); }),
               has("t.gz") && has("truncated"));
  std::string damaged = packed;
  damaged[packed.size() / 2] = static_cast<char>(damaged[packed.size() / 2] ^ 0x55);
  CHECK_THAT(message_of(Fault::data, [&] { gunzip(damaged, "t.gz"); }), has("t.gz"));
}

TEST_CASE("IDX: dimensions and elements, and every way to be wrong", "[data]") {
  const std::string good = idx({2, 1, 3}, {1, 2, 3, 4, 5, 255});
  const Idx parsed = parse_idx(good, 3, "a");
  CHECK(parsed.dims == std::vector<int64_t>{2, 1, 3});
  CHECK(parsed.bytes == "\x01\x02\x03\x04\x05\xff");

  const auto error = [](const std::string& bytes, int rank = 3) {
    return message_of(Fault::data, [&] { parse_idx(bytes, rank, "f.idx"); });
  };
  CHECK_THAT(error(good.substr(0, good.size() - 1)),
             has("f.idx") && has("truncated") && has("has 5"));
  CHECK_THAT(error(good + "x"), has("wrong count"));
  CHECK_THAT(error(good, 1), has("rank 3, expected 1"));
  CHECK_THAT(error(good.substr(0, 9)), has("header ends early"));
  CHECK_THAT(error("ab"), has("only 2 bytes"));
  CHECK_THAT(error("PNG...."), has("bad magic number"));
  std::string floats = good;
  floats[2] = '\x0d';
  CHECK_THAT(error(floats), has("element type 13"));
  CHECK_THAT(error(idx({0, 1, 3}, {})), has("dimension 0 is 0"));
  CHECK_THAT(error(idx({0xffffffff, 0xffffffff, 0xffffffff}, {})), has("too large"));
}

TEST_CASE("CSV: numbers, heading, and errors with line and column", "[data]") {
  const Matrix m = parse_csv("a,b\r\n1, -2.5\r\n\r\n+3e2,\"4\"\n", "m.csv");
  CHECK(m.names == std::vector<std::string>{"a", "b"});
  CHECK(m.rows == 2);
  CHECK(m.columns == 2);
  CHECK(m.values == std::vector<double>{1, -2.5, 300, 4});
  CHECK(parse_csv("7", "m.csv").at(0, 0) == 7);

  const auto error = [](const std::string& text) {
    return message_of(Fault::data, [&] { parse_csv(text, "m.csv"); });
  };
  CHECK_THAT(error("1,2\n3,x\n"), has("m.csv") && has("line 2, column 2") && has("\"x\""));
  CHECK_THAT(error("1,2\n3\n"), has("line 2 has 1 columns"));
  CHECK_THAT(error("1,nan\n"), has("not a finite number"));
  CHECK_THAT(error("a,b\n"), has("no rows"));
  CHECK_THAT(error(""), has("no rows"));
}
