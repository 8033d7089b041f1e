#include "graph/passes/fuse.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

Value Modulated(Graph& g, Value x, Value shift, Value scale) {
  return g.Add(g.Mul(g.Affine(scale, 1.0f, 1.0f), g.LayerNorm(x, 0.5f)), shift);
}

Value Modulation(Graph& g, const char* name) { return g.Input(name, {2, 1, 8}); }

TEST(Fuse, NormModulateAndGatedResidualBecomePartsOfTheLinear) {
  Graph g;
  const Value x = g.Input("x", {2, 5, 8});
  const Value shift = Modulation(g, "shift"), scale = Modulation(g, "scale");
  const Value gate = Modulation(g, "gate");
  const Value y = g.Linear(Scope("fc"), Modulated(g, x, shift, scale), 8);
  g.MarkOutput("out", g.Add(x, g.Mul(gate, y)));
  EXPECT_EQ(DumpText(Fuse(g)),
            "%0 = input() x [2, 5, 8] F32\n"
            "%1 = input() shift [2, 1, 8] F32\n"
            "%2 = input() scale [2, 1, 8] F32\n"
            "%3 = input() gate [2, 1, 8] F32\n"
            "%4 = weight() fc.weight [8, 8] F32\n"
            "%5 = weight() fc.bias [8] F32\n"
            "%6 = linear(%0, %1, %2, %4, %5, %0, %3) f32 bias ada_layer_norm gated_add [2, 5, 8] "
            "F32\n"
            "output out = %6\n");
  const Graph fused = Fuse(g);
  EXPECT_EQ(std::get<op::Linear>(fused.nodes()[6].op).eps, 0.5f);
}

TEST(Fuse, AModulatedValueIsMadeAgainForASecondLinearButNotForAThird) {
  for (const int num_linears : {2, 3}) {
    Graph g;
    const Value x = g.Input("x", {2, 5, 8});
    const Value shift = Modulation(g, "shift"), scale = Modulation(g, "scale");
    const Value y = Modulated(g, x, shift, scale);
    for (int i = 0; i < num_linears; ++i) {
      g.MarkOutput("out", g.Linear(Scope("fc") / i, y, 4, {.bias = false}));
    }
    const Graph fused = Fuse(g);
    const bool kept = DumpText(fused).find("layer_norm(") != std::string::npos;
    EXPECT_EQ(kept, num_linears == 3);
    EXPECT_EQ(DumpText(fused).find("ada_layer_norm") != std::string::npos, num_linears == 2);
  }
}

TEST(Fuse, GeluBeforeALinearByItselfGatedOrBehindAnotherValue) {
  Graph g;
  const Value a = g.Input("a", {3, 8}), b = g.Input("b", {3, 8});
  const LinearOptions plain = {.bias = false};
  g.MarkOutput("gelu", g.Linear(Scope("gelu"), g.GeluTanh(a), 4, plain));
  g.MarkOutput("gated", g.Linear(Scope("gated"), g.Mul(b, g.GeluTanh(a)), 4, plain));
  g.MarkOutput("behind", g.Linear(Scope("behind"), g.Concat({a, g.GeluTanh(b)}, -1), 4, plain));
  EXPECT_EQ(DumpText(Fuse(g)),
            "%0 = input() a [3, 8] F32\n"
            "%1 = input() b [3, 8] F32\n"
            "%2 = weight() gelu.weight [4, 8] F32\n"
            "%3 = linear(%0, %2) f32 gelu_tanh [3, 4] F32\n"
            "%4 = weight() gated.weight [4, 8] F32\n"
            "%5 = linear(%0, %1, %4) f32 gated_gelu_tanh [3, 4] F32\n"
            "%6 = weight() behind.weight [4, 16] F32\n"
            "%7 = linear(%0, %1, %6) f32 concat_gelu_tanh [3, 4] F32\n"
            "output gelu = %3\n"
            "output gated = %5\n"
            "output behind = %7\n");
}

TEST(Fuse, KeepsAnIntermediateThatSomethingElseReads) {
  Graph g;
  const Value x = g.Input("x", {3, 8});
  const Value gelu = g.GeluTanh(x);
  const Value y = g.Linear(Scope("fc"), gelu, 8);
  g.MarkOutput("sum", g.Add(x, y));
  g.MarkOutput("gelu", gelu);
  g.MarkOutput("y", y);
  EXPECT_EQ(DumpText(Fuse(g)), DumpText(g));
}

TEST(Fuse, OneResidualALinearAndTheOtherLinearIsIt) {
  Graph g;
  const Value x = g.Input("x", {3, 8});
  const LinearOptions plain = {.bias = false};
  const Value a = g.Linear(Scope("a"), x, 8, plain), b = g.Linear(Scope("b"), x, 8, plain);
  g.MarkOutput("out", g.Add(x, g.Add(a, b)));
  EXPECT_EQ(DumpText(Fuse(g)),
            "%0 = input() x [3, 8] F32\n"
            "%1 = weight() a.weight [8, 8] F32\n"
            "%2 = linear(%0, %1) f32 [3, 8] F32\n"
            "%3 = weight() b.weight [8, 8] F32\n"
            "%4 = linear(%0, %3, %2) f32 add [3, 8] F32\n"
            "%5 = binary(%0, %4) add [3, 8] F32\n"
            "output out = %5\n");
}

TEST(Fuse, ARepeatedResidualStaysASum) {
  Graph g;
  const Value row = g.Input("row", {1, 8}), x = g.Input("x", {3, 8});
  g.MarkOutput("out", g.Add(row, g.Linear(Scope("fc"), x, 8)));
  EXPECT_EQ(DumpText(Fuse(g)), DumpText(g));
}

TEST(Fuse, PartsOfAConcatenationAreNormedAndTurnedByTheirRowsOfTheTable) {
  Graph g;
  const Value txt = g.Input("txt", {1, 2, 3, 4}), img = g.Input("img", {1, 5, 3, 4});
  const Value table = g.Input("table", {1, 7, 2, 2});
  const Value a = g.Weight(Scope("a"), "scale", {4}), b = g.Weight(Scope("b"), "scale", {4});
  for (const char* name : {"q", "k"}) {
    const Value joint = g.Concat({g.RmsNorm(txt, a, 0.5f), g.RmsNorm(img, b, 0.5f)}, 1);
    g.MarkOutput(name, g.Rope(joint, table));
  }
  EXPECT_EQ(DumpText(Fuse(g)),
            "%0 = input() txt [1, 2, 3, 4] F32\n"
            "%1 = input() img [1, 5, 3, 4] F32\n"
            "%2 = input() table [1, 7, 2, 2] F32\n"
            "%3 = weight() a.scale [4] F32\n"
            "%4 = weight() b.scale [4] F32\n"
            "%5 = slice(%2) axis=1 begin=0 end=2 [1, 2, 2, 2] F32\n"
            "%6 = rms_norm_rope(%0, %3, %5) eps=0.5 [1, 2, 3, 4] F32\n"
            "%7 = slice(%2) axis=1 begin=2 end=7 [1, 5, 2, 2] F32\n"
            "%8 = rms_norm_rope(%1, %4, %7) eps=0.5 [1, 5, 3, 4] F32\n"
            "%9 = concat(%6, %8) axis=1 [1, 7, 3, 4] F32\n"
            "%10 = rms_norm_rope(%0, %3, %5) eps=0.5 [1, 2, 3, 4] F32\n"
            "%11 = rms_norm_rope(%1, %4, %7) eps=0.5 [1, 5, 3, 4] F32\n"
            "%12 = concat(%10, %11) axis=1 [1, 7, 3, 4] F32\n"
            "output q = %9\n"
            "output k = %12\n");
}

TEST(Fuse, ConvolutionTakesNormSiluUpsampleAndResidual) {
  constexpr op::Conv2d kSame = {.pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
  Graph g;
  const Value x = g.Input("x", {1, 4, 4, 8});
  const Value h =
      g.Conv2d(Scope("conv"), g.Silu(g.GroupNorm(Scope("norm"), x, 2, 0.5f)), 8, 3, kSame);
  const Value up = g.UpsampleNearest2x(g.Add(x, h));
  g.MarkOutput("out", g.Conv2d(Scope("up"), up, 8, 3, kSame));
  EXPECT_EQ(DumpText(Fuse(g)),
            "%0 = input() x [1, 4, 4, 8] F32\n"
            "%1 = weight() norm.weight [8] F32\n"
            "%2 = weight() norm.bias [8] F32\n"
            "%3 = weight() conv.weight [8, 8, 3, 3] F32\n"
            "%4 = weight() conv.bias [8] F32\n"
            "%5 = group_norm_stats(%0) num_groups=2 eps=0.5 [1, 2, 2] F32\n"
            "%6 = conv2d(%0, %5, %1, %2, %3, %4, %0) f32 stride=1 pad=1,1,1,1 bias norm_silu "
            "residual [1, 4, 4, 8] F32\n"
            "%7 = weight() up.weight [8, 8, 3, 3] F32\n"
            "%8 = weight() up.bias [8] F32\n"
            "%9 = conv2d(%6, %7, %8) f32 stride=1 pad=1,1,1,1 bias upsample [1, 8, 8, 8] F32\n"
            "output out = %9\n");
}

TEST(Fuse, ASecondTimeChangesNothing) {
  Graph g;
  const Value x = g.Input("x", {2, 5, 8});
  const Value shift = Modulation(g, "shift"), scale = Modulation(g, "scale");
  const Value y = g.Linear(Scope("fc"), Modulated(g, x, shift, scale), 8);
  g.MarkOutput("out", g.Add(x, g.Linear(Scope("proj"), g.GeluTanh(y), 8)));
  const Graph once = Fuse(g);
  EXPECT_EQ(DumpText(Fuse(once)), DumpText(once));
}

}  // namespace
}  // namespace ingot
