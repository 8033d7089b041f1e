// One op to run on a device: its types, and views of its operands.
//
// Apart from device.h, so that kernels see no more than they need.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "graph/op.h"
#include "tensor/view.h"

namespace ingot {

// Alignment of every tensor inside an arena: a cache line, a zmm register.
inline constexpr int64_t kTensorAlignment = 64;

// The types of one op's operands, known when a graph is compiled.
struct OpSignature {
  const op::Op* op;
  std::span<const Shape> input_shapes;
  std::span<const DType> input_dtypes;
  Shape output_shape;
  DType output_dtype;
};

// A picture op on some rows of its pictures, for those that do not stand in
// memory whole. Views then hold a part of the rows: the output, the residual and
// the rows that GroupNormStats reads from row `begin` of the picture on; the input
// of a Conv2d from row `window_begin` on, with all rows that its taps reach.
//
// Calls come in the order of rows; a Conv2d's begin at multiples of kStripGrid.
// GroupNormStats keeps its sums in the workspace from call to call, and writes
// its output in the last.
struct Strip {
  int64_t begin = 0;
  int64_t window_begin = 0;
  int64_t picture_rows = 0;  // of the input, whole
};
inline constexpr int64_t kStripGrid = 8;

// One op to run, or some rows of it: the views may be a part of the tokens of
// the signature's operands, cut at multiples of kRowGrid tokens (keys and values
// whole). No operand overlaps the output or the workspace, but for the operand
// that AliasOf names.
struct OpCall {
  const op::Op* op;
  std::span<const ConstTensorView> inputs;
  TensorView output;
  std::span<std::byte> workspace;  // WorkspaceBytes of the signature, kTensorAlignment-aligned
  const Strip* strip = nullptr;    // null: whole pictures
};

// Statistics over rows are taken on a fixed grid of this many tokens of one
// picture, so that no cut at a multiple of it changes a bit (promise P5).
inline constexpr int64_t kRowGrid = 256;

}  // namespace ingot
