// Chooses in what each product of a graph is computed.
#pragma once

#include <functional>
#include <string_view>

#include "base/status.h"
#include "graph/graph.h"
#include "tensor/dtype.h"

namespace ingot {

enum class Precision : uint8_t {
  kFast,     // as kDefault, but attention in 8 bits, and Linears in fp8 where asked for
  kDefault,  // 8 bits for quantized weights, 12 or 13 for plain ones: the picture looks the same
  kExact,    // f32 throughout
};

// "fast", "default", "exact".
std::string_view Name(Precision precision);
// InvalidArgument lists what exists.
Result<Precision> FindPrecision(std::string_view name);

// The type of a weight in its file, by name.
using WeightDTypes = std::function<DType(std::string_view name)>;

// A graph of the same nodes, with Compute and the types of pictures set:
//
//                                           kExact   kDefault   kFast
//   Linear, quantized weight                kF32     kI8        kI8, kF8 if takes_f8
//   Linear, F32, F16, BF16 or F8 weight     kF32     kI16       kI16, kF8 if takes_f8
//   Linear, sensitive or under 32 rows      kF32     kF32       kF32
//   Attention                               kF32     kI16       kI8
//   Attention, causal                       kF32     kF32       kF32
//   Conv2d                                  kF32     kI16       kI16
//
// Q8_0 counts as quantized: 8 bits of activations cost it 0.9 % of relative error. Rows are those
// of one picture, so that its bits do not follow the batch; below 32 of them a product is bound by
// reading its weight, and f32 costs nothing.
//
// takes_f8: the device wants kF8 (Device::WantsF8) and the network stands it. Of Flux that is
// known: torchao and flux-fast run it with scales of the same rows. T5 and CLIP have rows whose
// outliers leave the rest of a row with few of e4m3's values, and run once a job.
//
// Where Conv2d is kI16, a Conv2d's output is f16 when only Conv2d (as x or residual) and
// GroupNormStats read it; outputs of the graph and what other ops read stay f32. Rounding to f16
// costs less than kI16 (70 against 64 dB over a whole decode); what passes 65504 becomes infinite
// and is found behind the decoder.
Graph SetPrecision(const Graph& graph, Precision precision, const WeightDTypes& weight_dtypes,
                   bool takes_f8 = false);

}  // namespace ingot
