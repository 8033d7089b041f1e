// What a device whose memory is not the host's has beside device.h: copies over
// a link that run while the host and the device compute.
//
// A device that computes in RAM has no copy engine. The spans of such a device's
// arenas are addresses on the device: the host reads and writes them by copies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>

#include "base/status.h"
#include "devices/device.h"

namespace ingot {

// The end of one copy. A default one lies in the past: nothing waits for it.
struct Event {
  int stream = 0;    // each is carried out in order; two run side by side
  int64_t copy = 0;  // from 1, the how-manieth of its stream
};

// What a device takes of its memory and of the host's whatever runs on it: the context that a GPU's
// driver makes for a process.
struct FixedBytes {
  int64_t device = 0, host = 0;
  bool operator==(const FixedBytes&) const = default;
};

class CopyEngine {
 public:
  virtual ~CopyEngine() = default;

  // Takes the fixed bytes, if it has not; before a job is planned, so that their number is a
  // measured one.
  virtual Status Start() { return {}; }
  virtual FixedBytes fixed_bytes() const { return {}; }

  // What a plan may take now: all that is in use here, and what is free but for the reserve. Read
  // live, as other programs take and give; those never take what is in use here. Below 0 where they
  // have taken of the reserve.
  virtual int64_t AvailableBytes() const = 0;
  // What plans leave to the other programs of a shared device.
  virtual int64_t reserve_bytes() const { return 0; }

  // What is in use, fixed bytes among it; and the most that has been since ResetPeak.
  virtual int64_t UsedBytes() const = 0;
  virtual int64_t PeakBytes() const = 0;
  virtual void ResetPeak() = 0;

  // Of one direction; for the planner's bound bytes / link.
  virtual double LinkBytesPerSecond() const = 0;

  // Page-locked host memory, the only kind that copies take: from any other a
  // copy would first be a copy on the host.
  virtual Result<std::unique_ptr<Arena>> AllocatePinned(int64_t num_bytes) = 0;

  // How many ops Device::Run has begun; 0 where it returns when they have run.
  virtual int64_t num_ops() const { return 0; }

  // Begins a copy of equal spans, behind all earlier ones of its direction, and returns at once.
  // Until its event neither span may be written, nor the destination read. A download is behind
  // all ops that have begun, an upload behind the first `num_ops` of them, which may have used the
  // destination. kUnavailable when the device is lost.
  virtual Result<Event> UploadAfter(int64_t num_ops, std::span<const std::byte> host,
                                    std::span<std::byte> device) = 0;
  Result<Event> Upload(std::span<const std::byte> host, std::span<std::byte> device) {
    return UploadAfter(num_ops(), host, device);
  }
  virtual Result<Event> Download(std::span<const std::byte> device, std::span<std::byte> host) = 0;

  // Returns when the copy has arrived. kUnavailable names the copy that failed,
  // also for every later one of its stream; kCancelled when `stop` was requested
  // first: the copy goes on.
  virtual Status Wait(Event event, std::stop_token stop) = 0;
};

}  // namespace ingot
