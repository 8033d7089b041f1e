// What a job leaves in memory for the next: weights, and rows that no step changes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "devices/device.h"

namespace ingot {

// Entries stand under keys that name all that they depend on, so whoever has the key has the
// content. A plan knows nothing of them: before a phase runs, MakeRoom drops what does not fit
// beside it. Not thread-safe. Devices outlive it.
class KeptMemory {
 public:
  using Rows = std::vector<std::vector<float>>;

  // Replaces what stands under `key`.
  void KeepWeights(std::string key, std::unique_ptr<Arena> weights);
  void KeepRows(std::string key, Rows rows);

  // Hands over the entry, and forgets it; nothing when there is none.
  std::unique_ptr<Arena> TakeWeights(const std::string& key);
  std::optional<Rows> TakeRows(const std::string& key);

  // Drops entries until all but `now` take at most num_bytes. `now` is taken next: the phase that
  // is about to run counts it. First go the entries that are not in `job` (the keys that this job
  // takes), oldest first; then the smallest one that is enough, else the largest.
  void MakeRoom(int64_t num_bytes, std::span<const std::string> job, const std::string& now);

  void Forget() { entries_.clear(); }
  int64_t num_bytes() const { return num_bytes_beside({}); }
  int64_t num_bytes_beside(const std::string& key) const;  // of all other entries

 private:
  struct Entry {
    std::string key;
    int64_t num_bytes = 0;
    std::unique_ptr<Arena> weights;  // one of the two
    Rows rows;
  };
  void Keep(Entry entry);
  std::optional<Entry> Take(const std::string& key);

  std::vector<Entry> entries_;  // oldest first
};

}  // namespace ingot
