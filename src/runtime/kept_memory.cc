#include "runtime/kept_memory.h"

#include <algorithm>
#include <utility>

namespace ingot {

void KeptMemory::KeepWeights(std::string key, std::unique_ptr<Arena> weights) {
  const auto num_bytes = static_cast<int64_t>(weights->bytes().size());
  Keep({std::move(key), num_bytes, std::move(weights), {}});
}

void KeptMemory::KeepRows(std::string key, Rows rows) {
  int64_t num_bytes = 0;
  for (const std::vector<float>& row : rows) {
    num_bytes += static_cast<int64_t>(row.capacity() * sizeof(float));
  }
  Keep({std::move(key), num_bytes, nullptr, std::move(rows)});
}

void KeptMemory::Keep(Entry entry) {
  std::erase_if(entries_, [&](const Entry& old) { return old.key == entry.key; });
  entries_.push_back(std::move(entry));
}

std::optional<KeptMemory::Entry> KeptMemory::Take(const std::string& key) {
  const auto found = std::ranges::find(entries_, key, &Entry::key);
  if (found == entries_.end()) return std::nullopt;
  Entry entry = std::move(*found);
  entries_.erase(found);
  return entry;
}

std::unique_ptr<Arena> KeptMemory::TakeWeights(const std::string& key) {
  std::optional<Entry> entry = Take(key);
  return entry ? std::move(entry->weights) : nullptr;
}

std::optional<KeptMemory::Rows> KeptMemory::TakeRows(const std::string& key) {
  std::optional<Entry> entry = Take(key);
  if (!entry) return std::nullopt;
  return std::move(entry->rows);
}

void KeptMemory::MakeRoom(int64_t num_bytes, std::span<const std::string> job,
                          const std::string& now) {
  const auto is_counted = [&](const Entry& entry) { return entry.key != now; };
  const auto excess = [&] {
    int64_t kept = 0;
    for (const Entry& entry : entries_) kept += is_counted(entry) ? entry.num_bytes : 0;
    return kept - num_bytes;
  };
  const auto is_of_job = [&](const Entry& entry) {
    return std::ranges::find(job, entry.key) != job.end();
  };
  for (size_t i = 0; i < entries_.size() && excess() > 0;) {
    if (is_counted(entries_[i]) && !is_of_job(entries_[i])) {
      entries_.erase(entries_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
  for (int64_t bytes = excess(); bytes > 0; bytes = excess()) {
    auto chosen = entries_.end();
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (!is_counted(*entry)) continue;
      const bool is_better = chosen == entries_.end() ||
                             (chosen->num_bytes >= bytes ? entry->num_bytes >= bytes &&
                                                               entry->num_bytes < chosen->num_bytes
                                                         : entry->num_bytes > chosen->num_bytes);
      if (is_better) chosen = entry;
    }
    if (chosen == entries_.end()) break;  // nothing is counted: num_bytes is negative
    entries_.erase(chosen);
  }
}

int64_t KeptMemory::num_bytes_beside(const std::string& key) const {
  int64_t num_bytes = 0;
  for (const Entry& entry : entries_) num_bytes += entry.key == key ? 0 : entry.num_bytes;
  return num_bytes;
}

}  // namespace ingot
