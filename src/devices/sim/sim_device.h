// A simulated GPU: memory of its own with a hard cap, behind a link of a given
// rate, computing by another device. It makes the path disk -> RAM -> VRAM, its
// waits and its failures testable on a machine without a GPU.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>

#include "devices/copy_engine.h"
#include "devices/device.h"
#include "devices/sim/clock.h"
#include "devices/sim/link.h"

namespace ingot {

// Failures to order. Each counts from 1; 0: it does not happen.
struct SimFaults {
  int64_t refuse_allocation = 0;  // the nth call of Allocate
  int64_t fail_copy = 0;          // the nth copy, of both directions together
  int64_t lose_device_at_op = 0;  // before the nth Run; everything fails from then on
};

struct SimOptions {
  int64_t vram_bytes = 0;
  double link_bytes_per_s = 25e9;  // of each direction: PCIe 4.0 x16 as measured by most
  double copy_latency_s = 10e-6;   // of each copy
  SimFaults faults = {};
  sim::Clock* clock = nullptr;  // null: the machine's
};

// Runs every op on `compute`, so with its bits, and checks what a GPU would
// punish: operands, output and workspace lie in this device's memory, copies go
// between it and pinned memory. Breaking that is a bug (INGOT_CHECK).
// Thread-safe, but for Run. `compute` outlives it, and it outlives its arenas.
class SimDevice final : public Device, public CopyEngine {
 public:
  SimDevice(Device& compute, const SimOptions& options);

  std::string_view name() const override { return "sim"; }
  CopyEngine* copy_engine() override { return this; }
  const CopyEngine* copy_engine() const override { return this; }
  // kUnavailable names the cap, what is in use and what was asked for.
  Result<std::unique_ptr<Arena>> Allocate(int64_t num_bytes, std::stop_token stop = {}) override;
  DType WeightDType(const op::Op& op, int input_idx, DType file_dtype) const override {
    return compute_.WeightDType(op, input_idx, file_dtype);
  }
  Status Supports(const OpSignature& signature) const override {
    return compute_.Supports(signature);
  }
  bool AcceptsRuns(const op::Op& op, int input_idx) const override {
    return compute_.AcceptsRuns(op, input_idx);
  }
  int AliasOf(const op::Op& op) const override { return compute_.AliasOf(op); }
  bool AcceptsStrips(const op::Op& op) const override { return compute_.AcceptsStrips(op); }
  int64_t WorkspaceBytes(const OpSignature& signature) const override {
    return compute_.WorkspaceBytes(signature);
  }
  Status Run(const OpCall& call, std::stop_token stop) override;
  bool is_lost() const override { return lost_; }
  void set_trace(Trace* trace) override {
    Device::set_trace(trace);
    compute_.set_trace(trace);
  }

  int64_t AvailableBytes() const override { return options_.vram_bytes; }
  int64_t UsedBytes() const override { return vram_.num_bytes(); }
  int64_t PeakBytes() const override { return vram_.peak_bytes(); }
  void ResetPeak() override { vram_.ResetPeak(); }
  double LinkBytesPerSecond() const override { return options_.link_bytes_per_s; }
  Result<std::unique_ptr<Arena>> AllocatePinned(int64_t num_bytes) override;
  Result<Event> UploadAfter(int64_t num_ops, std::span<const std::byte> host,
                            std::span<std::byte> device) override;
  Result<Event> Download(std::span<const std::byte> device, std::span<std::byte> host) override;
  Status Wait(Event event, std::stop_token stop) override;

 private:
  // The live blocks of one kind of memory.
  class Blocks {
   public:
    void Add(std::span<const std::byte> block);
    void Remove(std::span<const std::byte> block);
    // Whether one block holds all of `bytes`.
    bool Hold(std::span<const std::byte> bytes) const;
    int64_t num_bytes() const;
    int64_t peak_bytes() const;
    void ResetPeak();

   private:
    mutable std::mutex mutex_;
    std::map<const std::byte*, size_t> sizes_;
    int64_t num_bytes_ = 0, peak_bytes_ = 0;
  };
  class BlockArena;

  Status CheckNotLost() const;
  Result<Event> Begin(int stream, sim::Link::Copy copy);

  Device& compute_;
  const SimOptions options_;
  Blocks vram_, pinned_;
  std::atomic<int64_t> num_allocations_ = 0, num_copies_ = 0;
  int64_t num_ops_ = 0;
  std::atomic<bool> lost_ = false;
  sim::Link up_, down_;
};

}  // namespace ingot
