#include "memory/transfers.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace ingot {
namespace {

int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// The weights that one step is the first to use, side by side.
struct Slab {
  size_t begin = 0, end = 0;  // in `uses`
  int64_t num_bytes = 0;      // a multiple of kPageBytes
  int first_step = 0, last_step = 0;
  bool resident = false;
  int64_t offset = 0;
  int start_after = 0;
};

std::vector<Slab> MakeSlabs(std::span<const WeightUse> uses) {
  std::vector<Slab> slabs;
  for (size_t i = 0; i < uses.size(); ++i) {
    INGOT_CHECK(uses[i].first_step <= uses[i].last_step);
    if (slabs.empty() || slabs.back().first_step != uses[i].first_step) {
      INGOT_CHECK(slabs.empty() || slabs.back().first_step < uses[i].first_step);
      slabs.push_back({.begin = i, .first_step = uses[i].first_step});
    }
    Slab& slab = slabs.back();
    slab.end = i + 1;
    slab.num_bytes = RoundUp(slab.num_bytes, uses[i].alignment) + uses[i].num_bytes;
    slab.last_step = std::max(slab.last_step, uses[i].last_step);
  }
  for (Slab& slab : slabs) slab.num_bytes = RoundUp(slab.num_bytes, kPageBytes);
  return slabs;
}

int64_t TotalBytes(std::span<const Slab> slabs) {
  int64_t total = 0;
  for (const Slab& slab : slabs) total += slab.num_bytes;
  return total;
}

int64_t MaxLiveBytes(std::span<const Slab> slabs) {
  int64_t most = 0;
  for (size_t i = 0; i < slabs.size(); ++i) {  // the most are alive when one becomes so
    int64_t live = 0;
    for (size_t k = 0; k <= i; ++k) {
      if (slabs[k].last_step >= slabs[i].first_step) live += slabs[k].num_bytes;
    }
    most = std::max(most, live);
  }
  return most;
}

// The ring's bytes, each with the last step that still needs what was last written there.
class Ring {
 public:
  static constexpr int kNeverUsed = std::numeric_limits<int>::min() / 2;

  explicit Ring(int64_t num_bytes) : pieces_{{0, num_bytes, kNeverUsed}} {}

  // The place that is free earliest; of equal ones the next behind the last write, so that slabs of
  // one size go round and round.
  int64_t FindPlace(int64_t num_bytes) const {
    const int64_t size = pieces_.back().end;
    int64_t best = -1;
    int best_step = 0;
    for (const Piece& piece : pieces_) {
      if (piece.begin + num_bytes > size) break;
      const int step = FreeAfter(piece.begin, num_bytes);
      const auto distance = [&](int64_t at) { return (at - cursor_ + size) % size; };
      if (best >= 0 &&
          (step > best_step || (step == best_step && distance(piece.begin) >= distance(best)))) {
        continue;
      }
      best = piece.begin;
      best_step = step;
    }
    return best;
  }

  int FreeAfter(int64_t offset, int64_t num_bytes) const {
    int step = kNeverUsed;
    for (auto piece = FirstBehind(offset); piece != pieces_.end(); ++piece) {
      if (piece->begin >= offset + num_bytes) break;
      step = std::max(step, piece->last_step);
    }
    return step;
  }

  void Write(int64_t offset, int64_t num_bytes, int last_step) {
    const int64_t end = offset + num_bytes;
    std::vector<Piece> pieces;
    for (const Piece& piece : pieces_) {
      if (piece.begin < offset) {
        pieces.push_back({piece.begin, std::min(piece.end, offset), piece.last_step});
      }
      if (piece.begin <= offset && offset < piece.end) pieces.push_back({offset, end, last_step});
      if (piece.end > end) {
        pieces.push_back({std::max(piece.begin, end), piece.end, piece.last_step});
      }
    }
    pieces_ = std::move(pieces);
    cursor_ = end;
  }

  // Another run begins: what was written is the run before's.
  void EndRun(int num_steps) {
    for (Piece& piece : pieces_) piece.last_step -= num_steps;
  }

 private:
  struct Piece {
    int64_t begin, end;
    int last_step;
  };
  std::vector<Piece>::const_iterator FirstBehind(int64_t offset) const {
    return std::upper_bound(pieces_.begin(), pieces_.end(), offset,
                            [](int64_t at, const Piece& piece) { return at < piece.end; });
  }

  std::vector<Piece> pieces_;  // cover the ring in order
  int64_t cursor_ = 0;
};

// Gives every slab that is not resident its place and its start. False when a slab would have to be
// written before what lies there has been used.
bool PlaceInRing(std::span<Slab> slabs, int64_t ring_bytes, int num_steps) {
  Ring ring(ring_bytes);
  for (Slab& slab : slabs) {
    if (slab.resident) continue;
    slab.offset = ring.FindPlace(slab.num_bytes);
    if (slab.offset < 0 || ring.FreeAfter(slab.offset, slab.num_bytes) >= slab.first_step) {
      return false;
    }
    ring.Write(slab.offset, slab.num_bytes, slab.last_step);
  }
  ring.EndRun(num_steps);  // from the second run on the ring is full from the start
  for (Slab& slab : slabs) {
    if (slab.resident) continue;
    slab.start_after = ring.FreeAfter(slab.offset, slab.num_bytes);
    ring.Write(slab.offset, slab.num_bytes, slab.last_step);
  }
  return true;
}

int NumSteps(std::span<const Slab> slabs) {
  int num_steps = 0;
  for (const Slab& slab : slabs) num_steps = std::max(num_steps, slab.last_step + 1);
  return num_steps;
}

// Weights that live for one step fit into the most bytes alive. Lives that interleave can leave
// holes: then the ring grows until they fit, at the latest beside each other.
int64_t LeastRingBytes(std::span<const Slab> given) {
  std::vector<Slab> slabs;
  for (const Slab& slab : given) {
    if (!slab.resident) slabs.push_back(slab);
  }
  int64_t ring_bytes = MaxLiveBytes(slabs);
  const int64_t total = TotalBytes(slabs), growth = RoundUp(ring_bytes / 64 + 1, kPageBytes);
  while (!PlaceInRing(slabs, ring_bytes, NumSteps(slabs))) {
    INGOT_CHECK(ring_bytes < total);
    ring_bytes = std::min(ring_bytes + growth, total);
  }
  return ring_bytes;
}

// Of a sequence of all_bytes some num_bytes, evenly over it.
class EvenShare {
 public:
  EvenShare(int64_t num_bytes, int64_t all_bytes)
      : num_bytes_(num_bytes),
        share_(static_cast<double>(num_bytes) /
               static_cast<double>(std::max<int64_t>(all_bytes, 1))) {}

  // Whether the next of the sequence, of so many bytes, is among them.
  bool Takes(int64_t num_bytes) {
    const auto bytes = static_cast<double>(num_bytes);
    due_ += bytes * share_;
    if (due_ < bytes / 2 || taken_bytes_ + num_bytes > num_bytes_) return false;
    due_ -= bytes;
    taken_bytes_ += num_bytes;
    return true;
  }

 private:
  const int64_t num_bytes_;
  const double share_;
  double due_ = 0;
  int64_t taken_bytes_ = 0;
};

// Makes slabs resident up to num_bytes, evenly over the run; then whatever else fits.
int64_t ChooseResidents(std::span<Slab> slabs, int64_t num_bytes) {
  EvenShare share(num_bytes, TotalBytes(slabs));
  int64_t resident_bytes = 0;
  const auto take = [&](Slab& slab) {
    slab.resident = true;
    slab.offset = resident_bytes;
    resident_bytes += slab.num_bytes;
  };
  for (Slab& slab : slabs) {
    if (share.Takes(slab.num_bytes)) take(slab);
  }
  for (Slab& slab : slabs) {
    if (!slab.resident && resident_bytes + slab.num_bytes <= num_bytes) take(slab);
  }
  return resident_bytes;
}

TransferPlan MakePlan(const TransferRequest& request, std::span<const Slab> slabs) {
  TransferPlan plan;
  plan.num_steps = request.num_steps;
  plan.num_runs = request.num_runs;
  for (const Slab& slab : slabs) {
    if (slab.resident) plan.resident_bytes += slab.num_bytes;
    if (!slab.resident) {
      plan.ring_bytes = std::max(plan.ring_bytes, slab.offset + slab.num_bytes);
    }
  }
  for (const Slab& slab : slabs) {
    int64_t offset = slab.offset;
    for (size_t i = slab.begin; i < slab.end; ++i) {
      offset = RoundUp(offset, request.uses[i].alignment);
      plan.loads.push_back({slab.resident, offset, slab.start_after});
      offset += request.uses[i].num_bytes;
    }
  }
  auto use = request.uses.begin();
  for (int step = 0; step < request.num_steps; ++step) {
    while (use != request.uses.end() && use->first_step <= step) ++use;
    plan.num_loads_before.push_back(static_cast<int>(use - request.uses.begin()));
  }
  return plan;
}

}  // namespace

int64_t LeastBytes(std::span<const WeightUse> uses) { return LeastRingBytes(MakeSlabs(uses)); }

int64_t DoubleBufferedBytes(std::span<const WeightUse> uses) {
  return std::min(2 * LeastBytes(uses), AllResidentBytes(uses));
}

int64_t AllResidentBytes(std::span<const WeightUse> uses) { return TotalBytes(MakeSlabs(uses)); }

Result<TransferPlan> PlanTransfers(const TransferRequest& request) {
  std::vector<Slab> slabs = MakeSlabs(request.uses);
  const int64_t least = LeastRingBytes(slabs), total = TotalBytes(slabs);
  if (request.num_bytes < least) {
    return OutOfBudget("weights: expected at least {} bytes to stream them, found {}", least,
                       request.num_bytes);
  }
  const auto place = [&](int64_t ring_bytes) {
    return PlaceInRing(slabs, ring_bytes, request.num_steps);
  };
  int64_t ring_bytes = std::min({request.num_bytes, 2 * least, total});
  if ((request.num_runs > 1 || request.keep) && request.num_bytes >= total) {
    ChooseResidents(slabs, total);
    return MakePlan(request, slabs);
  }
  if (request.num_runs > 1) {
    const int64_t resident_bytes = ChooseResidents(slabs, request.num_bytes - ring_bytes);
    ring_bytes = std::min(ring_bytes, total - resident_bytes);
  }
  if (place(ring_bytes)) return MakePlan(request, slabs);
  // More bytes can fit worse where lives interleave. The least always fits.
  for (Slab& slab : slabs) slab.resident = false;
  INGOT_CHECK(place(least));
  return MakePlan(request, slabs);
}

void HoldInRam(std::span<const WeightUse> uses, int64_t num_bytes, TransferPlan& plan) {
  INGOT_CHECK(uses.size() == plan.loads.size());
  int64_t all_bytes = 0;
  for (size_t i = 0; i < uses.size(); ++i) {
    if (!plan.loads[i].resident) all_bytes += uses[i].held_bytes;
  }
  EvenShare share(num_bytes, all_bytes);
  plan.held_bytes = 0;
  for (size_t i = 0; i < uses.size(); ++i) {
    TransferPlan::Load& load = plan.loads[i];
    load.held_offset = -1;
    if (load.resident || !share.Takes(uses[i].held_bytes)) continue;
    load.held_offset = plan.held_bytes;
    plan.held_bytes += uses[i].held_bytes;
  }
}

TransferTimes PredictTransfers(const TransferPlan& plan, std::span<const WeightUse> uses,
                               std::span<const double> step_s, const LinkRates& link,
                               const LinkRates& held) {
  const auto seconds_of = [&](const WeightUse& use, const LinkRates& rates) {
    return static_cast<double>(use.file_bytes) / rates.bytes_per_s + rates.load_s;
  };
  INGOT_CHECK(static_cast<int>(step_s.size()) == plan.num_steps &&
              uses.size() == plan.loads.size());
  INGOT_CHECK(plan.held_bytes == 0 || held.bytes_per_s > 0);
  const auto num_steps = static_cast<size_t>(plan.num_steps);
  std::vector<double> ends(2 * num_steps, 0.0);  // of the steps of the run before and of this one
  double now_s = 0, reader_s = 0, compute_s = 0, link_s = 0;
  TransferTimes times;
  for (int64_t run = 0; run < plan.num_runs; ++run) {
    const TransferTimes before = times;
    const double begun_s = now_s, reader_begun_s = reader_s;
    const double computed_s = compute_s, linked_s = link_s;
    std::copy(ends.begin() + plan.num_steps, ends.end(), ends.begin());
    size_t next = 0;
    for (size_t step = 0; step < num_steps; ++step) {
      for (; next < static_cast<size_t>(plan.num_loads_before[step]); ++next) {
        const TransferPlan::Load& load = plan.loads[next];
        if (load.resident && run > 0) continue;
        const bool is_held = load.held_offset >= 0 && run > 0;
        const double load_s = seconds_of(uses[next], is_held ? held : link);
        const double may_start_s =
            load.resident ? 0.0 : ends[static_cast<size_t>(load.start_after + plan.num_steps)];
        reader_s = std::max(reader_s, may_start_s) + load_s;
        link_s += load_s;
      }
      const double begin_s = std::max(now_s, reader_s);
      times.stalled_s += begin_s - now_s;
      now_s = begin_s + step_s[step];
      compute_s += step_s[step];
      ends[num_steps + step] = now_s;
    }
    // Once everything happens as in the run before, only later, it does so in all that follow.
    const double run_s = now_s - begun_s;
    const auto as_before = [&](double then_s, double later_s) {
      return std::abs(later_s - then_s - run_s) <= 1e-9 * now_s;
    };
    bool is_steady = run > (plan.held_bytes > 0 ? 1 : 0) &&
                     (link_s == linked_s || as_before(reader_begun_s, reader_s));
    for (size_t step = 0; is_steady && step < num_steps; ++step) {
      is_steady = as_before(ends[step], ends[num_steps + step]);
    }
    if (!is_steady) continue;
    const auto left = static_cast<double>(plan.num_runs - 1 - run);
    now_s += left * run_s;
    times.stalled_s += left * (times.stalled_s - before.stalled_s);
    compute_s += left * (compute_s - computed_s);
    link_s += left * (link_s - linked_s);
    break;
  }
  times.seconds = now_s;
  double first_s = 0;
  for (const WeightUse& use : uses) {
    if (use.first_step == uses.front().first_step) first_s += seconds_of(use, link);
  }
  times.stall_free_s = std::max(compute_s, link_s) + first_s;
  return times;
}

}  // namespace ingot
