// What a device says of an op of which the headers of its kernels say nothing.
//
// The namespace of a device's kernels (cpu, cuda) brings these in beside what its headers declare.
// A visitor then calls cpu::AcceptsRuns(op, input_idx) for whatever op it holds: what is declared
// for the op's own type comes before these, which take it by a conversion. A declaration that
// differs in the types of its other parameters does not compile.
#pragma once

#include <cstddef>
#include <cstdint>

#include "devices/op_call.h"
#include "graph/op.h"

namespace ingot::op_defaults {

struct AnyOp {
  template <typename T>
  AnyOp(const T&) {}
};

// The number of threads is a CPU's alone.
inline int64_t WorkspaceBytes(AnyOp, const OpSignature&, size_t = 1) { return 0; }
inline bool AcceptsRuns(AnyOp, int) { return false; }
inline bool AcceptsStrips(AnyOp) { return false; }
inline bool AcceptsDType(AnyOp, int, DType dtype) { return dtype == DType::kF32; }
inline int AliasOf(AnyOp) { return -1; }

}  // namespace ingot::op_defaults
