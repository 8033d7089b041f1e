// Checks of the sizes that a network reads from the shapes of a checkpoint.
//
// A config whose every size came through here builds a graph without failing a
// CHECK: no size is zero, none is so large that the product of three of them
// overflows 64 bits.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/status.h"
#include "tensor/tensor_table.h"

namespace ingot {

// Above every published width (token tables of 10^5 rows are the largest) and
// 2^60 when cubed.
inline constexpr int64_t kMaxDimension = int64_t{1} << 20;

// Ten times the deepest published model.
inline constexpr int kMaxBlocks = 1000;

// Shape of a tensor that must be there with that rank, every dimension in
// [1, kMaxDimension].
Result<Shape> GetDimensions(const TensorTable& table, std::string_view name, int rank);

// kCorruption unless `size` is a multiple of `factor`; `what` names the size:
// "width", "channels".
Status CheckMultiple(const TensorTable& table, std::string_view tensor, std::string_view what,
                     int64_t size, int64_t factor);

// Number of consecutive blocks `prefix.0.suffix`, `prefix.1.suffix`, …, in
// [1, kMaxBlocks]. A gap is kCorruption: running without the blocks behind it
// would silently be another network.
Result<int> GetNumBlocks(const TensorTable& table, std::string_view prefix,
                         std::string_view suffix);

// True when the name of some tensor begins with `prefix`.
bool HasPrefix(const TensorTable& table, std::string_view prefix);

}  // namespace ingot
