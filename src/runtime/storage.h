// Where the values of a graph live: in their own buffer, or inside another value's.
#pragma once

#include <cstdint>
#include <vector>

#include "devices/device.h"
#include "graph/graph.h"

namespace ingot {

// A value's place in the buffer of value `root`, in elements; runs as in ConstTensorView.
struct ValuePlace {
  int32_t root = -1;
  int64_t offset = 0;
  int64_t run_elements = 0;
  int64_t run_stride = 0;
};

struct Storage {
  std::vector<ValuePlace> places;  // of every node
  std::vector<int32_t> steps;      // nodes that run on the device, in order; others move no byte
};

// What costs nothing:
// - Reshape: the same place.
// - Concat, when what comes before its axis is 1, and along the last axis when its producers write
//   in runs: they write their parts, when all parts have a producer that no other Concat took.
// - Slice, when it is one contiguous part, or along the last axis when all users read in runs. The
//   parts of the two begin at multiples of kTensorAlignment.
// - In place: an op writes over the operand that Device::AliasOf names, also over a view in runs,
//   when no byte of it is read later. Never over inputs, weights and outputs.
Storage AssignStorage(const Graph& graph, const Device& device);

}  // namespace ingot
