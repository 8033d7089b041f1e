// `ingot bench`.
#include <cstdio>

#include "cli/commands.h"
#include "cli/json.h"
#include "cli/progress_bar.h"
#include "cli/threads.h"
#include "engine/bench.h"

namespace ingot {
namespace {

Json ToJson(const BenchReport& report) {
  Json ops = Json::array();
  for (const BenchedOp& op : report.ops) {
    ops.push_back({{"op", op.op},
                   {"type", op.type},
                   {"shape", op.shape},
                   {"gops", op.gops},
                   {"seconds", op.seconds},
                   {"share_of_peak", op.share_of_peak}});
  }
  const bool has_rate = report.disk_read_bytes_per_s > 0;
  return {{"peaks",
           {{"int8_gops", report.int8_gops},
            {"f32_gflops", report.f32_gflops},
            {"disk_read_bytes_per_s", has_rate ? Json(report.disk_read_bytes_per_s) : Json()}}},
          {"ops", ops}};
}

void Print(const BenchReport& report, size_t num_threads) {
  std::printf("%zu threads: int8 %.0f Gop/s, f32 %.0f GFLOP/s", num_threads, report.int8_gops,
              report.f32_gflops);
  if (report.disk_read_bytes_per_s > 0) {
    std::printf(", disk %.2f GB/s", report.disk_read_bytes_per_s * 1e-9);
  }
  std::printf("\n");
  if (report.ops.empty()) return;
  std::printf(
      "\n| op | type | shape | ms | Gop/s | share of its peak |\n|---|---|---|---|---|---|\n");
  for (const BenchedOp& op : report.ops) {
    std::printf("| %s | %s | %s | %.2f | %.0f | %.0f %% |\n", op.op.c_str(), op.type.c_str(),
                op.shape.c_str(), op.seconds * 1e3, op.gops, op.share_of_peak * 100);
  }
}

}  // namespace

Status BenchCommand(std::optional<int> threads, const std::string& read_file, bool peaks_only,
                    bool json, std::stop_token stop) {
  INGOT_ASSIGN_OR_RETURN(const size_t num_threads, NumThreads(threads));
  const Result<BenchReport> report = [&] {
    ProgressBar bar;
    return Bench({.num_threads = num_threads,
                  .read_file = read_file,
                  .peaks_only = peaks_only,
                  .progress = [&](int done, int count) { bar.Show("bench", done, count); },
                  .stop = stop});
  }();
  if (!report.ok()) return report.status();
  if (json) {
    PrintJson(ToJson(*report));
  } else {
    Print(*report, num_threads);
  }
  return {};
}

}  // namespace ingot
