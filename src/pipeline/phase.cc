#include "pipeline/phase.h"

#include <algorithm>

#include "memory/budget.h"
#include "memory/planner.h"

namespace ingot {
namespace {

PhaseWay WayOf(const Program& program, int64_t num_runs) {
  return {
      .arena_bytes = program.ring_offset(), .uses = program.weight_uses(), .num_runs = num_runs};
}

}  // namespace

Phase::Phase(std::string name, Program first, std::vector<Program::Options> slower,
             const Device& device, int64_t num_runs)
    : name_(std::move(name)), slower_(std::move(slower)), device_(&device), num_runs_(num_runs) {
  ways_.push_back(std::move(first));
}

bool Phase::CompileNext() {
  if (ways_.size() > slower_.size()) return false;
  Result<Program> way =
      Program::Compile(ways_[0].graph(), ways_[0].tensors(), *device_, slower_[ways_.size() - 1]);
  INGOT_CHECK(way.ok());  // the same weights and ops as in the first
  ways_.push_back(*std::move(way));
  return true;
}

const Program& Phase::LeastWay() {
  while (CompileNext()) {
  }
  return *std::ranges::min_element(
      ways_, {}, [&](const Program& program) { return WayOf(program, num_runs_).least_bytes(); });
}

int64_t Phase::least_bytes() { return WayOf(LeastWay(), num_runs_).least_bytes(); }

bool Phase::CanShrinkTo(int64_t num_bytes) const {
  return WayOf(program(), num_runs_).least_bytes() <= num_bytes;
}

int64_t Phase::MostResidentBytes(const Room& room) const {
  const int64_t needed =
      room.beside_bytes + program().ring_offset() + LeastBytes(program().weight_uses());
  const int64_t tier = room.beside_bytes + room.num_bytes;
  return tier - ReservedForCompute(room.forge_inference_memory, needed, tier);
}

Status Phase::FitTo(const Room& room) {
  std::vector<PhaseWay> ways;
  do {
    for (size_t i = ways.size(); i < ways_.size(); ++i) {
      ways.push_back(WayOf(ways_[i], num_runs_));
    }
  } while (ways.back().good_bytes() > room.num_bytes && CompileNext());
  INGOT_ASSIGN_OR_RETURN(PhaseChoice choice, ChooseWay(ways, room.num_bytes));
  way_ = choice.way;
  const std::vector<WeightUse>& uses = program().weight_uses();
  const int64_t most = MostResidentBytes(room);
  if (room.forge_inference_memory && most < AllResidentBytes(uses)) {
    // A byte less than all, so that the ring stays.
    choice.weight_bytes = std::min({choice.weight_bytes, DoubleBufferedBytes(uses) + most,
                                    std::max(AllResidentBytes(uses) - 1, LeastBytes(uses))});
  }
  return ways_[way_].PlaceWeights({.num_bytes = choice.weight_bytes, .num_runs = num_runs_});
}

Status Phase::KeepWeights(const Room& room) {
  Program& program = ways_[way_];
  const int64_t all = AllResidentBytes(program.weight_uses());
  if (num_runs_ > 1 || program.ring_offset() + all > room.num_bytes) return {};
  if (room.forge_inference_memory && all > MostResidentBytes(room)) return {};
  return program.PlaceWeights({.num_bytes = all, .num_runs = num_runs_, .keep = true});
}

void Phase::Settle() {
  std::vector<Program> chosen;
  chosen.push_back(std::move(ways_[way_]));
  ways_ = std::move(chosen);
  if (way_ == 0) return;
  slower_.clear();
  way_ = 0;
  is_cut_ = true;
}

}  // namespace ingot
