#include "graph/passes/split.h"

#include <gtest/gtest.h>

#include "graph/passes/fuse.h"

namespace ingot {
namespace {

// Flux's single block in small: columns [0, 12) before the attention, [12, 20) behind it.
Graph QkvAndMlp() {
  Graph g;
  const Value x = g.Input("x", {1, 5, 4});
  const Value linear1 = g.Linear(Scope("linear1"), g.Mul(x, x), 20);
  const Value qkv = g.Slice(linear1, -1, 0, 12), mlp = g.Slice(linear1, -1, 12, 20);
  const auto head = [&](int64_t k) {
    return g.Reshape(g.Slice(qkv, -1, 4 * k, 4 * k + 4), {1, 5, 2, 2});
  };
  const Value q = head(0), k = head(1), v = head(2);
  const Value attn = g.Reshape(g.Attention(q, k, v, {}), {1, 5, 4});
  g.MarkOutput("out", g.Linear(Scope("linear2"), g.Concat({attn, g.GeluTanh(mlp)}, -1), 4));
  return g;
}

TEST(Split, PartsUsedAtDifferentPlacesAreLinearsOfTheirOwn) {
  EXPECT_EQ(DumpText(Split(Fuse(QkvAndMlp()))),
            "%0 = input() x [1, 5, 4] F32\n"
            "%1 = binary(%0, %0) mul [1, 5, 4] F32\n"
            "%2 = weight() linear1.weight from row 0 of 20 [12, 4] F32\n"
            "%3 = weight() linear1.bias from row 0 of 20 [12] F32\n"
            "%4 = linear(%1, %2, %3) f32 bias [1, 5, 12] F32\n"
            "%5 = slice(%4) axis=2 begin=0 end=4 [1, 5, 4] F32\n"
            "%6 = reshape(%5) [1, 5, 2, 2] F32\n"
            "%7 = slice(%4) axis=2 begin=4 end=8 [1, 5, 4] F32\n"
            "%8 = reshape(%7) [1, 5, 2, 2] F32\n"
            "%9 = slice(%4) axis=2 begin=8 end=12 [1, 5, 4] F32\n"
            "%10 = reshape(%9) [1, 5, 2, 2] F32\n"
            "%11 = attention(%6, %8, %10) f32 scale=1 [1, 5, 2, 2] F32\n"
            "%12 = reshape(%11) [1, 5, 4] F32\n"
            "%13 = weight() linear2.weight [4, 12] F32\n"
            "%14 = weight() linear2.bias [4] F32\n"
            "%15 = weight() linear1.weight from row 12 of 20 [8, 4] F32\n"
            "%16 = weight() linear1.bias from row 12 of 20 [8] F32\n"
            "%17 = linear(%1, %15, %16) f32 bias [1, 5, 8] F32\n"
            "%18 = linear(%12, %17, %13, %14) f32 bias concat_gelu_tanh [1, 5, 4] F32\n"
            "output out = %18\n");
}

TEST(Split, OfASplitGraphChangesNothing) {
  const Graph split = Split(Fuse(QkvAndMlp()));
  EXPECT_EQ(DumpText(Split(split)), DumpText(split));
}

// Whether `graph` is left as it is.
bool StaysWhole(const Graph& graph) { return DumpText(Split(graph)) == DumpText(graph); }

TEST(Split, SlicesUsedAtOnePlaceStayOneLinear) {
  Graph g;
  const Value qkv = g.Linear(Scope("qkv"), g.Input("x", {1, 5, 4}), 12);
  const auto head = [&](int64_t k) {
    return g.Reshape(g.Slice(qkv, -1, 4 * k, 4 * k + 4), {1, 5, 2, 2});
  };
  const Value q = head(0), k = head(1), v = head(2);
  g.MarkOutput("out", g.Attention(g.RmsNorm(q, g.Weight(Scope(), "q", {2}), 1e-6f),
                                  g.RmsNorm(k, g.Weight(Scope(), "k", {2}), 1e-6f), v, {}));
  EXPECT_TRUE(StaysWhole(g));
}

TEST(Split, APartThatSavesLessThanItsOperandCostsStays) {
  for (const int64_t operand_columns : {3, 4, 5}) {
    Graph g;
    const Value x = g.Silu(g.Input("x", {1, 5, operand_columns}));
    const Value both = g.Linear(Scope("both"), x, 8);
    const Value first = g.Linear(Scope("fc"), g.Slice(both, -1, 0, 4), 4);
    g.MarkOutput("out", g.Mul(first, g.Silu(g.Slice(both, -1, 4, 8))));
    EXPECT_EQ(StaysWhole(g), operand_columns >= 4);
  }
}

TEST(Split, WhatIsReadWholeOrTwiceStaysWhole) {
  for (const char* fault : {"none", "output", "read whole", "overlap"}) {
    Graph g;
    const Value x = g.Input("x", {1, 5, 2});
    const Value both = g.Linear(Scope("both"), x, 8);
    const int64_t begin = fault == std::string_view("overlap") ? 3 : 4;
    const Value first = g.Linear(Scope("fc"), g.Slice(both, -1, 0, 4), 8 - begin);
    g.MarkOutput("out", g.Mul(first, g.Slice(both, -1, begin, 8)));
    if (fault == std::string_view("output")) g.MarkOutput("both", both);
    if (fault == std::string_view("read whole")) g.MarkOutput("silu", g.Silu(both));
    EXPECT_EQ(StaysWhole(g), fault != std::string_view("none")) << fault;
  }
}

TEST(Split, ColumnsThatNobodyReadsAreNotComputed) {
  Graph g;
  const Value both = g.Linear(Scope("fc"), g.Input("x", {1, 5, 2}), 8, {.bias = false});
  g.MarkOutput("out", g.Slice(both, -1, 2, 6));
  EXPECT_EQ(DumpText(Split(g)),
            "%0 = input() x [1, 5, 2] F32\n"
            "%1 = weight() fc.weight from row 2 of 8 [4, 2] F32\n"
            "%2 = linear(%0, %1) f32 [1, 5, 4] F32\n"
            "output out = %2\n");
}

}  // namespace
}  // namespace ingot
