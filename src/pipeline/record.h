// What came of a job: its pictures, and what each phase really took.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "memory/plan.h"

namespace ingot {

// A change of any output bit raises it.
inline constexpr int kNumericsVersion = 2;

struct Picture {
  int width = 0, height = 0;
  uint64_t seed = 0;
  std::vector<uint8_t> pixels;  // RGB8 [height, width, 3]
};

struct PhaseMeasure {
  std::string name;
  double seconds = 0;  // all of it
  double load_s = 0;   // of them reading weights
  std::vector<double> step_s;
  int64_t streamed_bytes = 0;
  double stalled_s = 0;  // waiting for weights
  // How often it was fitted to less of the device's memory than planned, as other programs had
  // taken some (phase_run.h).
  int num_refits = 0;
};

struct Record {
  Plan plan;
  std::vector<PhaseMeasure> phases;
  std::vector<Picture> pictures;  // fewer than the batch where it was interrupted
  // Most of earlier jobs that stood beside a phase: what was measured is at most the plan's peak
  // and this, which together are within the budget.
  int64_t kept_bytes = 0;
  int64_t kept_vram_bytes = 0;  // the same on a device with memory of its own
};

}  // namespace ingot
