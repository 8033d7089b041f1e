// Splits a Linear of which only columns are used into Linears of these columns.
#pragma once

#include "graph/graph.h"

namespace ingot {

// A graph of the same inputs and outputs, bit for bit, in which a Linear that is read only through
// column slices that lie apart is one Linear a part, right before the part's first user; prologue
// operands are read by each. A part's weight and bias are rows of the checkpoint's (op::Weight).
//
// Adjacent slices stay one part when no product (Linear, Attention, Conv2d) runs from the first
// user of one to that of the other: q, k, v of one qkv. A Linear is split only where that lowers
// memory: columns go unused, or a part waits over a product, and is wider than the prologue
// operands that would have to wait in its place. In Flux that is linear1 of the single blocks, qkv
// | mlp: at 1024x1024 the mlp's 204 MiB no longer stand beside the attention.
//
// Comes after Fuse, which must find the whole pattern.
Graph Split(const Graph& graph);

}  // namespace ingot
