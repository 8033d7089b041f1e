// The interface of a device: memory in arenas, and ops run on views of it.
//
// A device owns no policy: what is in memory, when and where, is decided by
// memory/ and carried out by runtime/.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <stop_token>
#include <string_view>

#include "base/status.h"
#include "base/trace.h"
#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot {

// One block of device memory, freed when it goes out of scope. Every tensor of
// a run is a view into an arena.
class Arena {
 public:
  virtual ~Arena() = default;
  std::span<std::byte> bytes() const { return bytes_; }

 protected:
  explicit Arena(std::span<std::byte> bytes) : bytes_(bytes) {}
  std::span<std::byte> bytes_;
};

class CopyEngine;

class Device {
 public:
  virtual ~Device() = default;

  // Null: the device computes in RAM, and its arenas are the host's to read and write. Else they
  // are addresses on the device, and all that goes there or comes back is a copy (copy_engine.h).
  virtual CopyEngine* copy_engine() { return nullptr; }
  virtual const CopyEngine* copy_engine() const { return nullptr; }

  virtual std::string_view name() const = 0;

  // kUnavailable when the memory cannot be had.
  virtual Result<std::unique_ptr<Arena>> Allocate(int64_t num_bytes, std::stop_token stop = {}) = 0;

  // The type in which operand `input_idx` of `op` must be in memory when the
  // file holds it as `file_dtype`: itself, or F32 where the kernel wants plain
  // numbers (norms, biases, convolutions).
  virtual DType WeightDType(const op::Op& op, int input_idx, DType file_dtype) const = 0;

  // kUnsupported names the op and the types.
  virtual Status Supports(const OpSignature& signature) const = 0;

  // Whether Run takes operand `input_idx` (-1: the output) as a view in runs.
  virtual bool AcceptsRuns(const op::Op& op, int input_idx) const = 0;

  // The operand whose bytes the output may take the place of, when it has the
  // output's shape and dies with this op: -1 for none.
  virtual int AliasOf(const op::Op& op) const = 0;

  // Whether Linears that may be coarse are faster for it in op::Compute::kF8, on hardware that it
  // may have: a fact of the kind of device, as plans are made where none is.
  virtual bool WantsF8() const { return false; }

  // Whether Run takes a Strip.
  virtual bool AcceptsStrips(const op::Op& op) const = 0;

  // Scratch that Run needs, for all threads together; a function of the
  // signature and the device alone.
  virtual int64_t WorkspaceBytes(const OpSignature& signature) const = 0;

  // Runs one supported op. Looks at `stop` between pieces of work of at most 30 ms
  // each; kCancelled when it was requested, the output is then undefined. An op that
  // is only another view (input, weight, reshape) never gets here.
  //
  // A device with a copy engine may return before the op has run: it runs ops in the order of the
  // calls. kUnavailable may name an earlier op.
  virtual Status Run(const OpCall& call, std::stop_token stop) = 0;

  // Whether nothing will run on it any more in this process: a GPU's fault ends its context.
  virtual bool is_lost() const { return false; }

  // Where the device and who runs ops on it record what they do; null: nowhere.
  virtual void set_trace(Trace* trace) { trace_ = trace; }
  Trace* trace() const { return trace_; }

 private:
  Trace* trace_ = nullptr;
};

}  // namespace ingot
