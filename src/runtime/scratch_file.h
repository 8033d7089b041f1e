// Activations on disk: a file without a name, written and read in the background.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>
#include <stop_token>
#include <string>
#include <thread>

#include "base/status.h"
#include "base/trace.h"
#include "runtime/spill.h"

namespace ingot {

// Offsets, lengths and addresses of transfers are multiples of this: they go
// past the page cache, whose pages nobody planned.
inline constexpr int64_t kScratchAlignment = 4096;

// Transfers run one after the other in the order they were queued, on one
// thread. Used by one thread at a time. Allocates nothing after Create.
class ScratchFile final : public Spill {
 public:
  // Room for `num_bytes` in `folder`, taken from the disk at once, so that a full
  // disk is found before the work. kInvalidArgument for a folder in memory (tmpfs:
  // spilling there would only move the bytes), kUnavailable when the disk is full.
  // With a trace the thread of transfers has a row.
  static Result<std::unique_ptr<ScratchFile>> Create(const std::filesystem::path& folder,
                                                     int64_t num_bytes, Trace* trace = nullptr);
  ~ScratchFile() override;  // waits for what is queued
  ScratchFile(const ScratchFile&) = delete;
  ScratchFile& operator=(const ScratchFile&) = delete;

  Ticket Write(int64_t offset, std::span<const std::byte> bytes) override;
  Ticket Read(int64_t offset, std::span<std::byte> bytes) override;
  Status Wait(Ticket ticket) override;  // of either direction

  int64_t transferred_bytes() const;
  double stalled_s() const { return stalled_s_; }  // that Wait and a full queue have waited

 private:
  struct Transfer {
    int64_t offset = 0;
    std::byte* bytes = nullptr;
    size_t num_bytes = 0;
    bool is_write = false;
  };

  ScratchFile(std::string folder, int descriptor, Trace* trace);
  template <typename Condition>
  void WaitUntil(std::unique_lock<std::mutex>& lock, const Condition& is_true);
  Ticket Queue(const Transfer& transfer);
  void Run(std::stop_token stop);
  Status Move(const Transfer& transfer) const;

  const std::string folder_;
  const int descriptor_;
  double stalled_s_ = 0;

  Trace* const trace_;
  Trace::Row trace_row_ = 0;
  Trace::Label read_label_ = 0, write_label_ = 0, wait_label_ = 0;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  // Guarded by mutex_.
  std::array<Transfer, kMaxQueued> queue_;  // transfer t stands at t % kMaxQueued
  Ticket num_queued_ = 0, num_done_ = 0;
  int64_t transferred_bytes_ = 0;
  Status error_;

  std::jthread thread_;  // last: uses all of the above
};

}  // namespace ingot
