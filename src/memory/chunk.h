// A static schedule of a run in which chains of ops go chunk of tokens by chunk of tokens, so that
// what is between them never stands in memory whole.
//
// Tokens are the rows of axis 1 of [1, L, ...]: an op that makes row r of its output from row r of
// its operands (Linear, norms, attention over queries) can run on some rows. Bits do not change:
// cuts are multiples of kRowGrid of every value (device.h).
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "graph/graph.h"
#include "graph/passes/precision.h"
#include "memory/layout.h"

namespace ingot {

// One op, on rows [row_begin, row_end) of its output's tokens.
struct Step {
  int32_t node = -1;
  int64_t row_begin = 0;
  int64_t row_end = 0;      // 0: the whole output
  int64_t chunk_begin = 0;  // in rows of the group

  bool is_whole() const { return row_end == 0; }
  int64_t num_rows() const { return row_end - row_begin; }
};

struct Schedule {
  // Nodes whose steps take turns: for each chunk one step of each that has rows in it.
  struct Group {
    std::vector<int32_t> nodes;  // in the order of a chunk
    int32_t first_step = 0, last_step = 0;
  };
  // All but inputs, weights, reshapes, and the slices of tokens of a chunk: they show its rows.
  std::vector<Step> steps;
  std::vector<Group> groups;
  // Of every node, views as what they view:
  std::vector<int32_t> group_of;     // -1: none
  std::vector<int64_t> offsets;      // its row r is row r + offset of the group
  std::vector<int64_t> buffer_rows;  // that its buffer holds; 0: all

  // Drops the steps of all other nodes, which move no byte.
  void KeepNodes(std::span<const int32_t> nodes);

  // When the buffers of a step live (FindLifetimes): the step, or its node's place in the group,
  // counted from the group's first step as if all had a step in the first chunk.
  int32_t TurnOf(size_t step) const;

  bool is_chunk(int32_t node) const { return buffer_rows[static_cast<size_t>(node)] > 0; }
  // Where row `row` of the node stands in its buffer during a step.
  int64_t RowInBuffer(const Step& step, int32_t node, int64_t row) const {
    if (!is_chunk(node)) return row;
    return row - std::max<int64_t>(step.chunk_begin - offsets[static_cast<size_t>(node)], 0);
  }
};

// Groups are found by size of what needs not stand whole, the largest first: a value that is made
// by rows, and read by rows and no element twice (by one op, or in disjoint slices), joins its
// producer and its readers in a group. Keys and values, and what leaves the group, are whole.
// Several chains of one group share their chunks:
//
//   Linear -> Linear           an MLP, gated or not
//   q -> Attention -> Linear   blocks of queries; a mask or a bias forbids it
//   Linear -> slices -> ...    qkv: queries, keys and values are written, qkv never stands
//
// A group reads its weights in every chunk: they live from its first to its last step.
// chunk_rows is a multiple of kRowGrid; 0 gives one step a node. So does a graph with no value of
// more rows.
Schedule ChunkTokens(const Graph& graph, int64_t chunk_rows);

// Rows of the operand that an op reads for a row of its output.
struct RowsRead {
  int32_t root = -1;     // the value that the operand is, or is a view of
  bool by_rows = false;  // row r + shift for row r; otherwise any
  int64_t shift = 0;
};
RowsRead FindRowsRead(const Graph& graph, int32_t node, size_t input_idx);

// Bytes of the weights that a group, or a whole step's node, holds; `weight_dtypes` in memory.
int64_t WeightBytes(const Graph& graph, std::span<const int32_t> nodes,
                    const WeightDTypes& weight_dtypes);

// When the buffer of every node lives, in steps; 0 bytes where it has none. roots[i]: the node that
// owns the bytes of node i, itself or not (reshapes, slices that are views, parts of
// concatenations, outputs in place of an operand); a root is whole or a chunk as its values are.
//
// Values that a group reads or writes whole live during all of it. Between each other the chunks of
// a group live from step to step of one chunk, so that they share bytes.
std::vector<BufferLifetime> FindLifetimes(const Graph& graph, const Schedule& schedule,
                                          std::span<const int32_t> roots);

}  // namespace ingot
