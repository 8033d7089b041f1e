#include "memory/explain.h"

#include <algorithm>

#include "base/byte_size.h"

namespace ingot {
namespace {

std::string Percent(int64_t part, int64_t whole) {
  return fmt::format("{:.0f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

std::string ExplainPeak(const Plan& plan) {
  const PhasePlan& largest = *std::ranges::max_element(plan.phases, {}, &PhasePlan::peak_bytes);
  return fmt::format("{} sets the peak: {} of {} ({})", largest.name,
                     FormatByteSize(largest.peak_bytes()), FormatByteSize(plan.peak_ram_bytes()),
                     Percent(largest.peak_bytes(), plan.peak_ram_bytes()));
}

std::string ExplainStreaming(const PhasePlan& phase) {
  const std::string runs =
      phase.num_runs == 1 ? "" : fmt::format(" in each of {} runs", phase.num_runs);
  const std::string from_ram =
      phase.held_bytes == 0
          ? ""
          : fmt::format("; {} of that stay in RAM", FormatByteSize(phase.held_bytes));
  const std::string streams =
      fmt::format("streams {}{} through a ring of {}{}", FormatByteSize(phase.run_bytes), runs,
                  FormatByteSize(phase.ring_bytes), from_ram);
  if (phase.resident_bytes == 0) return fmt::format("{} {}", phase.name, streams);
  return fmt::format("{} keeps {} of weights and {}", phase.name,
                     FormatByteSize(phase.resident_bytes), streams);
}

std::string ExplainHoist(const PhasePlan& phase, int num_steps) {
  const std::string steps = phase.num_parts == 1
                                ? fmt::format("all {} steps", num_steps)
                                : fmt::format("{} steps in {} groups", num_steps, phase.num_parts);
  return fmt::format("{} computes what no step changes for {}; its {} of weights then leave memory",
                     phase.name, steps,
                     FormatByteSize(std::max(phase.resident_bytes, phase.streamed_bytes)));
}

}  // namespace

std::vector<std::string> ExplainPlan(const Plan& plan) {
  std::vector<std::string> sentences;
  if (plan.phases.empty()) return sentences;
  sentences.push_back(ExplainPeak(plan));
  bool streams = false;
  for (const PhasePlan& phase : plan.phases) {
    if (phase.name == "hoist") sentences.push_back(ExplainHoist(phase, plan.num_steps));
    if (phase.ring_bytes > 0) sentences.push_back(ExplainStreaming(phase));
    if (phase.num_parts > 1 && phase.name != "hoist") {
      sentences.push_back(fmt::format("{} in {} {}", phase.name, phase.num_parts,
                                      phase.name == "decode" ? "strips" : "chunks of tokens"));
    }
    if (phase.scratch_bytes > 0) {
      sentences.push_back(fmt::format("{} keeps {} of activations on disk", phase.name,
                                      FormatByteSize(phase.scratch_bytes)));
    }
    streams |= phase.ring_bytes > 0;
  }
  if (!streams) sentences.push_back("all weights of a phase are in memory while it runs");
  return sentences;
}

}  // namespace ingot
