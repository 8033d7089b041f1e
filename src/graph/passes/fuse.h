// Fuses the plain ops that models write into the fused ones of op.h.
#pragma once

#include "graph/graph.h"

namespace ingot {

// A graph of the same inputs, weights and outputs, with fewer intermediates in memory and
// fewer passes over them. An intermediate goes only when nothing else uses it:
//
//   norm, modulate, Linear                Linear{prologue kAdaLayerNorm}
//   gelu_tanh(a) [* b], Linear            Linear{kGeluTanh, kGatedGeluTanh}
//   concat(a, gelu_tanh(b)), Linear       Linear{kConcatGeluTanh}
//   residual + [gate *] Linear            Linear{epilogue kAdd, kGatedAdd}
//   rms_norm, rope                        RmsNormRope
//   concat of rms_norms, rope             a RmsNormRope of each part, written into the concat
//   group_norm, silu, Conv2d              GroupNormStats, Conv2d{norm_silu}
//   upsample_nearest_2x, Conv2d           Conv2d{upsample}
//   residual + Conv2d                     Conv2d{residual}
//
// A modulated value may feed two Linears: normalizing K values twice costs less than 1/100 of a
// product with a hundred rows of weights, and saves writing and reading the value. Beyond two it
// is kept. Results differ from the plain graph's by the roundings of the intermediates to f32.
//
// A fused residual has the shape of what it is added to. Hoist (hoist.h) gives nodes more rows
// and so comes first.
Graph Fuse(const Graph& graph);

}  // namespace ingot
