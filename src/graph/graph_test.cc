#include "graph/graph.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

TEST(Graph, LinearDeclaresItsWeightsUnderTheScope) {
  Graph g;
  const Value x = g.Input("x", {1, 5, 64});
  const Value y = g.Linear(Scope("img_attn") / "qkv", x, 192);
  EXPECT_EQ(g.shape(y), Shape({1, 5, 192}));
  EXPECT_EQ(std::get<op::Weight>(g.nodes()[1].op).name, "img_attn.qkv.weight");
  EXPECT_EQ(g.nodes()[1].shape, Shape({192, 64}));
  EXPECT_EQ(std::get<op::Weight>(g.nodes()[2].op).name, "img_attn.qkv.bias");
}

TEST(Graph, BroadcastTakesTheLargerDimension) {
  Graph g;
  const Value y = g.Mul(g.Input("a", {1, 1, 8}), g.Input("b", {1, 7, 8}));
  EXPECT_EQ(g.shape(y), Shape({1, 7, 8}));
}

TEST(Graph, ConvolutionFollowsStrideAndAsymmetricPadding) {
  Graph g;
  const Value x = g.Input("x", {1, 9, 8, 4});
  const Value y = g.Conv2d(Scope("down"), x, 6, 3, {.stride = 2, .pad_bottom = 1, .pad_right = 1});
  EXPECT_EQ(g.shape(y), Shape({1, 4, 4, 6}));
}

TEST(Graph, DumpNamesOpsOperandsAndShapes) {
  Graph g;
  const Value x = g.Input("x", {2, 6});
  g.MarkOutput("half", g.Slice(x, -1, 0, 3));
  EXPECT_EQ(DumpText(g),
            "%0 = input() x [2, 6] F32\n"
            "%1 = slice(%0) axis=1 begin=0 end=3 [2, 3] F32\n"
            "output half = %1\n");
}

}  // namespace
}  // namespace ingot
