// The plan of a job: what each phase holds in memory, and the peak of the whole.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ingot {

struct PhasePlan {
  std::string name;  // "clip", "t5", "hoist", "sampling", "decode", …
  // Activations and workspace, as laid out; staging of weights. With the weights in the memory of
  // the device, if it has some (vram_bytes).
  int64_t arena_bytes = 0;
  int64_t max_live_bytes = 0;  // lower bound of arena_bytes for this graph
  int64_t resident_bytes = 0;  // weights that stay
  int64_t ring_bytes = 0;      // through which all others stream
  int64_t num_runs = 1;
  int64_t num_loads = 0;       // weights that come anew in a run after the first
  int64_t run_bytes = 0;       // that these have in the file
  int64_t streamed_bytes = 0;  // weights read from files in all runs; rows of tables not counted
  int64_t vram_bytes = 0;      // all of these, on a device with memory of its own; else 0
  int64_t host_bytes = 0;      // in RAM then: what its copies go through, held_bytes among it
  int64_t held_bytes = 0;      // weights that come from RAM in all runs after the first
  // Parts in which the phase is done one after the other, so that its arena is
  // smaller: strips of the picture (decode), groups of steps (hoist), chunks of
  // tokens (all others).
  int num_parts = 1;
  int64_t scratch_bytes = 0;  // of pictures on disk
  // From the device's rates (memory/cost.h), when nothing of it is kept from an earlier job.
  std::optional<double> predicted_s;

  int64_t carried_bytes = 0;  // embeddings, latents and pictures from and for other phases

  // In RAM.
  int64_t peak_bytes() const {
    const int64_t own = vram_bytes > 0 ? host_bytes : arena_bytes + resident_bytes + ring_bytes;
    return own + carried_bytes;
  }
};

// Phases run one after the other and share nothing but what they carry.
struct Plan {
  std::vector<PhasePlan> phases;
  int64_t fixed_bytes =
      0;  // the process itself: code, tables, stacks, vocabularies; a driver's part
  int64_t fixed_vram_bytes = 0;  // what the device's driver takes of its memory
  int num_steps = 0;             // of one picture

  int64_t peak_ram_bytes() const;
  int64_t peak_vram_bytes() const;
  std::optional<double> predicted_s() const;  // of all phases, if each has its own
};

}  // namespace ingot
