// A device that computes nothing: for tests of what is planned, moved and refused.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "devices/copy_engine.h"
#include "devices/device.h"

namespace ingot {

struct FakeDeviceOptions {
  int64_t capacity_bytes = std::numeric_limits<int64_t>::max();
  double link_bytes_per_s = 25e9;  // a fact for planners: copies take no time
  int64_t workspace_bytes = 0;     // of every op
};

// Supports every op. Matrices stay in the file's type, all else is F32, as on
// the CPU. Arenas are real memory, zeroed. Not thread-safe. Outlives its arenas.
class FakeDevice final : public Device, public CopyEngine {
 public:
  explicit FakeDevice(const FakeDeviceOptions& options) : options_(options) {}

  std::string_view name() const override { return "fake"; }

  // kUnavailable names the capacity, what is in use and what was asked for.
  Result<std::unique_ptr<Arena>> Allocate(int64_t num_bytes, std::stop_token) override {
    if (num_bytes > options_.capacity_bytes - in_use_bytes_) {
      return Unavailable("fake: expected at most {} bytes, found {} in use and {} more asked for",
                         options_.capacity_bytes, in_use_bytes_, num_bytes);
    }
    return std::unique_ptr<Arena>(std::make_unique<Block>(num_bytes, &in_use_bytes_));
  }
  DType WeightDType(const op::Op& op, int input_idx, DType file_dtype) const override {
    return IsMatrix(op, input_idx) ? file_dtype : DType::kF32;
  }
  Status Supports(const OpSignature&) const override { return {}; }
  bool AcceptsRuns(const op::Op&, int) const override { return false; }
  int AliasOf(const op::Op&) const override { return -1; }
  bool AcceptsStrips(const op::Op&) const override { return false; }
  int64_t WorkspaceBytes(const OpSignature&) const override { return options_.workspace_bytes; }
  Status Run(const OpCall&, std::stop_token stop) override {
    if (stop.stop_requested()) return Cancelled("cancelled by the caller");
    ++num_ops_;
    return {};
  }

  int64_t AvailableBytes() const override { return options_.capacity_bytes; }
  int64_t UsedBytes() const override { return in_use_bytes_; }
  int64_t PeakBytes() const override { return in_use_bytes_; }
  void ResetPeak() override {}
  double LinkBytesPerSecond() const override { return options_.link_bytes_per_s; }
  Result<std::unique_ptr<Arena>> AllocatePinned(int64_t num_bytes) override {
    return std::unique_ptr<Arena>(std::make_unique<Block>(num_bytes, nullptr));
  }
  Result<Event> UploadAfter(int64_t, std::span<const std::byte> host,
                            std::span<std::byte>) override {
    uploaded_bytes_ += static_cast<int64_t>(host.size());
    return Event{};
  }
  Result<Event> Download(std::span<const std::byte>, std::span<std::byte>) override {
    return Event{};
  }
  Status Wait(Event, std::stop_token) override { return {}; }

  int64_t num_ops() const override { return num_ops_; }
  int64_t uploaded_bytes() const { return uploaded_bytes_; }

 private:
  class Block final : public Arena {
   public:
    Block(int64_t num_bytes, int64_t* in_use_bytes)
        : Arena({}),
          memory_(static_cast<size_t>(num_bytes + kTensorAlignment)),
          in_use_bytes_(in_use_bytes) {
      void* begin = memory_.data();
      size_t space = memory_.size();
      bytes_ = {static_cast<std::byte*>(
                    std::align(kTensorAlignment, static_cast<size_t>(num_bytes), begin, space)),
                static_cast<size_t>(num_bytes)};
      if (in_use_bytes_ != nullptr) *in_use_bytes_ += num_bytes;
    }
    ~Block() override {
      if (in_use_bytes_ != nullptr) *in_use_bytes_ -= static_cast<int64_t>(bytes_.size());
    }

   private:
    std::vector<std::byte> memory_;
    int64_t* in_use_bytes_;
  };

  static bool IsMatrix(const op::Op& op, int input_idx) {
    return std::visit(
        [&]<typename T>(const T& o) {
          if constexpr (std::is_same_v<T, op::Linear> || std::is_same_v<T, op::Conv2d>) {
            return input_idx == op::OperandsOf(o).weight;
          } else {
            return std::is_same_v<T, op::Embedding> && input_idx == 1;
          }
        },
        op);
  }

  const FakeDeviceOptions options_;
  int64_t in_use_bytes_ = 0;
  int64_t num_ops_ = 0;
  int64_t uploaded_bytes_ = 0;
};

}  // namespace ingot
