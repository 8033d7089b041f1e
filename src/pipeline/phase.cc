#include "pipeline/phase.h"

#include <algorithm>

#include "memory/planner.h"

namespace ingot {
namespace {

PhaseWay WayOf(const Program& program, int64_t num_runs) {
  return {
      .arena_bytes = program.ring_offset(), .uses = program.weight_uses(), .num_runs = num_runs};
}

}  // namespace

Phase::Phase(std::string name, std::vector<Program> ways, int64_t num_runs)
    : name_(std::move(name)), ways_(std::move(ways)), num_runs_(num_runs) {}

int64_t Phase::least_bytes() const {
  const auto least = [&](const Program& program) {
    return WayOf(program, num_runs_).least_bytes();
  };
  return least(std::ranges::min(ways_, {}, least));
}

Status Phase::FitTo(int64_t num_bytes) {
  std::vector<PhaseWay> ways;
  for (const Program& program : ways_) ways.push_back(WayOf(program, num_runs_));
  INGOT_ASSIGN_OR_RETURN(const PhaseChoice choice, ChooseWay(ways, num_bytes));
  way_ = choice.way;
  return ways_[way_].PlaceWeights({.num_bytes = choice.weight_bytes, .num_runs = num_runs_});
}

Status Phase::KeepWeights(int64_t num_bytes) {
  Program& program = ways_[way_];
  const int64_t all = AllResidentBytes(program.weight_uses());
  if (num_runs_ > 1 || program.ring_offset() + all > num_bytes) return {};
  return program.PlaceWeights({.num_bytes = all, .num_runs = num_runs_, .keep = true});
}

void Phase::Settle() {
  std::vector<Program> chosen;
  chosen.push_back(std::move(ways_[way_]));
  ways_ = std::move(chosen);
  way_ = 0;
}

PhasePlan Phase::Plan() const { return program().Plan(name_); }

}  // namespace ingot
