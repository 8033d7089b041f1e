// Pictures of a device with memory of its own, in the host's memory: copies over the link.
#pragma once

#include <array>

#include "devices/copy_engine.h"
#include "runtime/spill.h"

namespace ingot {

class HostSpill final : public Spill {
 public:
  // `host` is pinned, and outlives this.
  HostSpill(CopyEngine& copies, std::span<std::byte> host) : copies_(copies), host_(host) {}

  Ticket Write(int64_t offset, std::span<const std::byte> bytes) override {
    return Note(copies_.Download(bytes, At(offset, bytes.size())));
  }
  Ticket Read(int64_t offset, std::span<std::byte> bytes) override {
    return Note(copies_.Upload(At(offset, bytes.size()), bytes));
  }
  Status Wait(Ticket ticket) override;

 private:
  std::span<std::byte> At(int64_t offset, size_t num_bytes) const {
    return host_.subspan(static_cast<size_t>(offset), num_bytes);
  }
  Ticket Note(const Result<Event>& event);

  CopyEngine& copies_;
  const std::span<std::byte> host_;
  std::array<Event, kMaxQueued> events_ = {};  // transfer t stands at t % kMaxQueued
  Ticket num_begun_ = 0;
  Status error_;
};

}  // namespace ingot
