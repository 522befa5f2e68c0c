// What a stranger types: wrong commands, flags, names and files. Every message says what is wrong,
// where, and what to do; usage errors exit with 2 and write nothing to standard output.
#include <catch2/catch.hpp>

#include "tests/apps/workplace.h"

using namespace kindred::test;
using Catch::Matchers::Contains;

namespace {

struct Refusal {
  std::vector<std::string> arguments;
  int code;
  const char* message;  ///< a part of standard error
};

void check_refused(const Workplace& at, const std::vector<Refusal>& refusals) {
  for (const Refusal& r : refusals) {
    std::string line = "kindred";
    for (const std::string& a : r.arguments) line += " " + a;
    INFO(line);
    const auto result = at.kindred(r.arguments);
    CHECK(result.status == r.code);
    CHECK(result.output.empty());
    CHECK_THAT(result.errors, Contains(r.message));
    CHECK(result.errors.find("terminate called") == std::string::npos);
    // One line for a person, and it names the command.
    CHECK(std::count(result.errors.begin(), result.errors.end(), '\n') == 1);
    CHECK_THAT(result.errors, Catch::Matchers::StartsWith("kindred"));
  }
}

}  // namespace

TEST_CASE("help goes to standard output, its absence to standard error", "[apps]") {
  const Workplace at;
  const auto none = at.kindred({});
  CHECK(none.status == 2);
  CHECK(none.output.empty());
  CHECK_THAT(none.errors, Contains("usage: kindred COMMAND"));
  for (const char* word : {"help", "--help", "-h"}) {
    const auto help = at.kindred({word});
    CHECK(help.status == 0);
    CHECK_THAT(help.output, Contains("usage: kindred COMMAND"));
    CHECK(help.errors.empty());
  }
  for (const char* command : {"compare", "train", "eval", "predict", "sample", "ngram", "data",
                              "bench", "profile", "inspect", "options", "info"}) {
    const auto help = at.kindred({command, "--help"});
    INFO(command);
    CHECK(help.status == 0);
    CHECK_THAT(help.output, Contains(std::string("usage: kindred ") + command));
    CHECK_THAT(help.output, Contains("--help"));
    CHECK(help.errors.empty());
  }
  const auto version = at.kindred({"--version"});
  CHECK(version.status == 0);
  CHECK_THAT(version.output, Catch::Matchers::StartsWith("kindred "));
  CHECK(at.files().empty());
}

TEST_CASE("wrong commands and flags", "[apps]") {
  const Workplace at;
  check_refused(
      at, {{{"trian"}, 2, "did you mean train?"},
           {{"xyzzy"}, 2, "unknown command \"xyzzy\""},
           {{"train"}, 2, "nothing says what to train; give --config FILE"},
           {{"train", "--frobnicate"}, 2, "'--frobnicate'"},
           {{"train", "--familly", "ssm"}, 2, "'--familly'; did you mean --family?"},
           {{"train", "--set"}, 2, "--help explains"},
           {{"train", "surplus"}, 2, "too many words; here stand none beside the options"},
           {{"train", "-f", "diffusionn"}, 2, "did you mean diffusion?"},
           {{"train", "-f", "ssm", "-s", "widht=3"}, 2, "keys are SECTION.NAME"},
           {{"train", "-f", "ssm", "-s", "data.name=mnst"}, 2, "did you mean mnist?"},
           {{"reproduce", "paper_s4_inti"}, 2, "did you mean paper_s4_init?"},
           {{"reproduce", "--table"}, 2, "--table needs the folders"},
           {{"train", "--threads", "x"}, 2, "--threads"},
           {{"train", "--threads", "-1", "-f", "ssm"}, 2, "--threads is not negative"},
           {{"train", "-f", "ssm", "--resume", "maybe"}, 2, "choose auto or never"},
           {{"compare"}, 2, "name an experiment file"},
           {{"compare", "none.ini"}, 2, "--out DIR"},
           {{"compare", "--out", "x"}, 2, "name an experiment file"},
           {{"compare", "none.ini", "--out", "x"}, 2, "cannot open none.ini: No such file"},
           {{"eval"}, 2, "name a run folder or a snapshot file"},
           {{"sample"}, 2, "name a run folder or a snapshot file"},
           {{"predict"}, 2, "name a run folder or a snapshot file"},
           {{"inspect"}, 2, "name a snapshot file or a run folder"},
           {{"ngram"}, 2, "'--data' is required"},
           {{"data"}, 2, "a verb is missing; known: list"},
           {{"data", "lst"}, 2, "unknown verb \"lst\""},
           {{"data", "get"}, 2, "needs the name of a data set"},
           {{"data", "get", "cifar"}, 2, "known sources: digits"},
           {{"bench"}, 2, "name a row, or all"},
           {{"bench", "gpt-mano"}, 2, "unknown row \"gpt-mano\"; choose from gpt-nano"},
           {{"bench", "unet", "--precision", "f16"}, 2, "choose f32 or bf16"},
           {{"bench", "unet", "--threads", "-1"}, 2, "--threads is not negative"},
           {{"bench", "unet", "--pairs", "0"}, 2, "--pairs is at least 1"},
           {{"bench", "--worker"}, 2, "for the program itself"},
           {{"bench", "scaling", "--axis", "gpt-widht"}, 2, "choose from gpt-width, gpt-depth"},
           {{"bench", "scaling", "surplus"}, 2, "too many words"},
           {{"bench", "scaling", "--memory", "0"}, 2, "--memory is above 0"},
           {{"bench", "scaling", "--precision", "f16"}, 2, "choose f32 or bf16"},
           {{"bench", "scaling", "--threads", "-1"}, 2, "--threads is not negative"},
           {{"bench", "scaling", "--out", ""}, 2, "--out is empty"},
           {{"bench", "scaling", "--out", "/proc/none"}, 7, "/proc/none"},
           {{"profile"}, 2, "nothing says what to train"},
           {{"profile", "-f", "ssm", "--steps", "0"}, 2, "--steps is at least 1"},
           {{"info", "--jsn"}, 2, "'--jsn'"}});
  CHECK(at.files().empty());
}

TEST_CASE("wrong names and values of settings", "[apps]") {
  const Workplace at;
  const std::vector<std::string> train = {"train", "--set",          "data.name=gauss8",
                                          "--set", "data.levels=16", "--set"};
  const auto with = [&](const std::string& setting) {
    auto arguments = train;
    arguments.push_back(setting);
    return arguments;
  };
  check_refused(
      at, {{with("model.widht=8"), 2, "unknown key model.widht (--set); did you mean model.width?"},
           {with("model.width"), 2, "--set \"model.width\": expected section.key=value"},
           {with("=8"), 2, "empty key"},
           {with("model.width=wide"), 2, "model.width = \"wide\" (--set): expected an integer"},
           {with("run.family=transfromer"), 2, "did you mean transformer?; known: transformer"},
           {with("run.family=ar/rwkv"), 2, "unknown backbone \"rwkv\"; known: attention"},
           {with("run.family=gan/unet"), 2, "unknown objective \"gan\"; known: ar"},
           {with("optimizer.name=adamm"), 2, "unknown optimizer \"adamm\"; choose one of"},
           {with("data.name=mnits"), 2, "unknown data set \"mnits\"; did you mean mnist?"},
           {with("data.path=x"), 2, "generated; path does not apply"},
           {with("train.batch=0"), 2, "train.batch must be positive"},
           {with("train.decay=some"), 2, "choose one of matrices"},
           {with("eval.split=dev"), 2, "choose validation, test or auto"},
           {with("eval.lane=strid:8"), 2, "choose reset or stride:S"},
           {with("eval.batch=0"), 2, "eval.batch must be positive"},
           {with("eval.limit=-1"), 2, "eval.limit = -1 is negative"},
           {with("schedule.anneal=step"), 2, "schedule.anneal"}});
  check_refused(at,
                {{{"options", "--set", "model.widht=8"}, 2, "did you mean model.width?"},
                 {{"ngram", "--data", "gauss8"}, 2, "gauss8 is not text"},
                 {{"ngram", "--data", "text"}, 2, "text needs path"},
                 {{"ngram", "--data", "text", "--path", "none.txt"}, 3, "none.txt: no such file"}});
  CHECK(at.files().empty());
}

TEST_CASE("configuration files: the message names file and line", "[apps]") {
  const Workplace at;
  at.write("section.ini", "[data\nname = gauss8\n");
  at.write("line.ini", "[data]\nname gauss8\n");
  at.write("twice.ini", "[data]\nname = gauss8\n\nname = moons\n");
  at.write("value.ini", "[data]\nname = gauss8\nlevels = many\n");
  at.write("key.ini", "[data]\nname = gauss8\nlevels = 16\n[model]\nwidht = 8\n");
  at.write("binary.ini", std::string("\x00\x01\xfe\xff", 4));
  std::filesystem::create_directory(at.path("folder.ini"));
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"train", "-c"},
        std::vector<std::string>{"compare", "--out", "x"}}) {
    const auto file = [&](const std::string& name) {
      auto arguments = command;
      arguments.push_back(name);
      return arguments;
    };
    check_refused(
        at, {{file("section.ini"), 2, "section.ini:1: neither"},
             {file("line.ini"), 2, "line.ini:2: neither"},
             {file("twice.ini"), 2, "twice.ini:4: data.name is set twice"},
             {file("value.ini"), 2, "data.levels = \"many\" (value.ini:3)"},
             {file("key.ini"), 2, "unknown key model.widht (key.ini:5); did you mean model.width?"},
             {file("binary.ini"), 2, "binary.ini:1"},
             {file("folder.ini"), 2, "folder.ini: Is a directory"},
             {file("absent.ini"), 2, "absent.ini: No such file"}});
  }
  CHECK(at.files().size() == 6);
}

TEST_CASE("folders without a model, and folders that cannot be", "[apps]") {
  const Workplace at;
  std::filesystem::create_directory(at.path("empty"));
  at.write("file", "not a snapshot");
  at.write("tiny.ini", kTinyComparison);
  for (const char* command : {"eval", "sample"})
    check_refused(at, {{{command, "nowhere"}, 4, "nowhere: no such run folder or snapshot file"},
                       {{command, "empty"}, 4, "no whole snapshot in empty"},
                       {{command, "file"}, 4, "file: too short for a snapshot"}});
  check_refused(at, {{{"inspect", "nowhere"}, 4, "nowhere"},
                     {{"inspect", "empty"}, 4, "no whole snapshot"},
                     {{"compare", "tiny.ini", "--out", ""}, 2, "--out is empty"},
                     {{"compare", "tiny.ini", "--json", "--out", "file"}, 7, "file"},
                     {{"compare", "tiny.ini", "--json", "--out", "/proc/none"}, 7, "/proc/none"}});
  check_refused(at, {{tiny_run({"train", "--json", "--out", ""}), 2, "--out is empty"},
                     {tiny_run({"train", "--json", "--out", "file"}), 7, "cannot make folder file"},
                     {tiny_run({"train", "--json", "--out", "/proc/none"}), 7, "/proc/none"}});
  CHECK(at.read("file") == "not a snapshot");
}

TEST_CASE("options shows the values in effect, without the data's files", "[apps]") {
  const Workplace at;
  const auto unet = at.kindred({"options", "--family", "diffusion"});
  CHECK(unet.status == 0);
  CHECK_THAT(unet.output, Contains("run.family = diffusion "));
  CHECK_THAT(unet.output,
             Contains("data.name = fashion-mnist "));  // and so the backbone is the U-Net
  CHECK(unet.output.find("model.conditioning") == std::string::npos);
  const auto mlp =
      at.kindred({"options", "-f", "diffusion", "-s", "data.name=moons", "-s", "model.width=7"});
  CHECK_THAT(mlp.output, Contains("model.conditioning"));
  CHECK_THAT(mlp.output, Contains("model.width = 7 "));
  CHECK_THAT(mlp.output,
             Catch::Matches("[^]*model\\.width = 7 [^\n]*\\(default (?!7\\))[0-9]+\\)[^]*"));
  const auto paper =
      at.kindred({"options", "-c", KINDRED_SOURCE_DIR "/experiments/paper_nanogpt_cpu.ini"});
  CHECK(paper.status == 0);
  CHECK_THAT(paper.output, Contains("run.seed = 1337 "));
}
