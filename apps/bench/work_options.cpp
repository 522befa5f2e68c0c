#include "apps/bench/work_options.h"

#include "autodiff/check.h"
#include "autodiff/ops/gemm.h"

namespace kindred::apps::bench {

void add_work_options(CommandLine& line) {
  line.options().add_options()("precision",
                               po::value<std::string>()->default_value("f32")->value_name("NAME"),
                               "f32 or bf16 (sums stay f32)")(
      "threads", po::value<int>()->default_value(0)->value_name("N"), "0 = all cores");
}

WorkOptions read_work_options(const CommandLine& line) {
  const WorkOptions work{line.get<std::string>("precision"), line.get<int>("threads")};
  check(work.precision == "f32" || work.precision == "bf16", "bench", "--precision ",
        work.precision, "; choose f32 or bf16");
  check(work.threads >= 0, "bench", "--threads is not negative; 0 = all cores");
  if (work.precision == "bf16") set_gemm_precision(GemmPrecision::bf16);  // refuses where it cannot
  return work;
}

}  // namespace kindred::apps::bench
