// Where pictures go that do not stand in the memory of the device: to disk, or, from a device with
// memory of its own, to the host's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/status.h"

namespace ingot {

// Used by one thread at a time. Allocates nothing once it is made.
class Spill {
 public:
  virtual ~Spill() = default;

  // Begins a transfer between the device's memory and the place of `offset`, behind the earlier
  // ones of its direction, and gives its number, for Wait. Blocks while kMaxQueued are not done.
  using Ticket = uint64_t;
  static constexpr size_t kMaxQueued = 16;
  virtual Ticket Write(int64_t offset, std::span<const std::byte> bytes) = 0;
  virtual Ticket Read(int64_t offset, std::span<std::byte> bytes) = 0;

  // Until that transfer and all before it of its direction are done; the first error of any.
  virtual Status Wait(Ticket ticket) = 0;
};

}  // namespace ingot
