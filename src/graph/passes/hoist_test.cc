#include "graph/passes/hoist.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

const HoistOptions kOptions = {.varying = {"x"}, .stepwise = {"t"}, .num_rows = 3};

// One line a crossing value.
std::string DumpCrossings(const Hoisted& hoisted) {
  std::string text;
  for (const auto& [name, stepwise] : hoisted.crossings) {
    text += name + (stepwise ? " stepwise\n" : " constant\n");
  }
  return text;
}

TEST(Hoist, ComputesTheModulationOfAllStepsAtOnce) {
  Graph g;
  const Value x = g.Input("x", {1, 5, 4}), t = g.Input("t", {1});
  const Value vec = g.Silu(g.TimestepEmbedding(t, {.dim = 2}));
  const Value mod = g.Reshape(g.Linear(Scope("mod"), vec, 8, {.bias = false}), {1, 1, 8});
  const Value shift = g.Slice(mod, -1, 0, 4), scale = g.Slice(mod, -1, 4, 8);
  g.MarkOutput("out", g.Add(g.Mul(g.Affine(scale, 1.0f, 1.0f), x), shift));

  const Hoisted cut = Hoist(g, kOptions);
  EXPECT_EQ(DumpText(cut.hoisted),
            "%0 = input() t [3] F32\n"
            "%1 = timestep_embedding(%0) dim=2 [3, 2] F32\n"
            "%2 = unary(%1) silu [3, 2] F32\n"
            "%3 = weight() mod.weight [8, 2] F32\n"
            "%4 = linear(%2, %3) f32 [3, 8] F32\n"
            "output hoisted.5 = %4\n");
  EXPECT_EQ(DumpText(cut.main),
            "%0 = input() x [1, 5, 4] F32\n"
            "%1 = input() hoisted.5 [1, 8] F32\n"
            "%2 = reshape(%1) [1, 1, 8] F32\n"
            "%3 = slice(%2) axis=2 begin=0 end=4 [1, 1, 4] F32\n"
            "%4 = slice(%2) axis=2 begin=4 end=8 [1, 1, 4] F32\n"
            "%5 = affine(%4) scale=1 shift=1 [1, 1, 4] F32\n"
            "%6 = binary(%5, %0) mul [1, 5, 4] F32\n"
            "%7 = binary(%6, %3) add [1, 5, 4] F32\n"
            "output out = %7\n");
  EXPECT_EQ(DumpCrossings(cut), "hoisted.5 stepwise\n");
}

TEST(Hoist, ComputesAConstantOnceAndTellsItFromAStepsValue) {
  Graph g;
  const Value x = g.Input("x", {1, 4}), t = g.Input("t", {1}), y = g.Input("y", {1, 6});
  const Value constant = g.Linear(Scope("y_in"), y, 4, {.bias = false});
  const Value step = g.Add(g.TimestepEmbedding(t, {.dim = 4}), constant);
  g.MarkOutput("out", g.Mul(g.Add(x, constant), step));
  const Hoisted cut = Hoist(g, kOptions);
  EXPECT_EQ(DumpText(cut.hoisted),
            "%0 = input() t [3] F32\n"
            "%1 = input() y [1, 6] F32\n"
            "%2 = weight() y_in.weight [4, 6] F32\n"
            "%3 = linear(%1, %2) f32 [1, 4] F32\n"
            "%4 = timestep_embedding(%0) dim=4 [3, 4] F32\n"
            "%5 = binary(%4, %3) add [3, 4] F32\n"
            "output hoisted.4 = %3\n"
            "output hoisted.6 = %5\n");
  EXPECT_EQ(DumpCrossings(cut), "hoisted.4 constant\nhoisted.6 stepwise\n");
  EXPECT_LT(cut.main.FindInput("t").id, 0);
  EXPECT_LT(cut.main.FindInput("y").id, 0);
}

TEST(Hoist, CrossesTheSlicesWhereTheyAreLessThanTheWhole) {
  Graph g;
  const Value x = g.Input("x", {1, 4}), t = g.Input("t", {1});
  const Value mod = g.TimestepEmbedding(t, {.dim = 16});
  const Value a = g.Slice(mod, -1, 0, 4), b = g.Slice(mod, -1, 4, 8);
  g.MarkOutput("out", g.Mul(g.Add(x, g.Affine(a, 1.0f, 1.0f)), b));
  EXPECT_EQ(DumpCrossings(Hoist(g, kOptions)), "hoisted.3 stepwise\nhoisted.4 stepwise\n");
}

TEST(Hoist, NormalizesInMainWhatCrossesAnyway) {
  Graph g;
  const Value x = g.Input("x", {1, 5, 4}), y = g.Input("y", {1, 5, 4});
  const Value txt = g.Linear(Scope("txt_in"), y, 4);
  g.MarkOutput("out", g.Add(g.Mul(x, g.LayerNorm(txt, 1e-6f)), txt));
  const Hoisted cut = Hoist(g, {.varying = {"x"}, .stepwise = {}, .num_rows = 1});
  EXPECT_EQ(DumpCrossings(cut), "hoisted.4 constant\n");
}

TEST(Hoist, StepsMeetConstantTokensInMain) {
  Graph g;
  const Value x = g.Input("x", {1, 5, 4}), y = g.Input("y", {1, 5, 4}), t = g.Input("t", {1});
  const Value mod = g.Reshape(g.TimestepEmbedding(t, {.dim = 4}), {1, 1, 4});
  const Value txt = g.Linear(Scope("txt"), g.Mul(mod, g.Silu(y)), 4);
  g.MarkOutput("out", g.Add(x, txt));
  const Hoisted cut = Hoist(g, kOptions);
  EXPECT_EQ(DumpText(cut.hoisted),
            "%0 = input() y [1, 5, 4] F32\n"
            "%1 = input() t [3] F32\n"
            "%2 = timestep_embedding(%1) dim=4 [3, 4] F32\n"
            "%3 = unary(%0) silu [1, 5, 4] F32\n"
            "output hoisted.3 = %2\n"
            "output hoisted.5 = %3\n");
}

// An op over all rows at once cannot serve several steps.
TEST(Hoist, AnOpThatMixesRowsStaysInMain) {
  Graph g;
  const Value x = g.Input("x", {1, 2}), t = g.Input("t", {1});
  const Value both = g.Concat({g.TimestepEmbedding(t, {.dim = 2}), x}, 0);
  const Value rows =
      g.Concat({g.TimestepEmbedding(t, {.dim = 2}), g.Weight(Scope(), "w", {1, 2})}, 0);
  g.MarkOutput("both", both);
  g.MarkOutput("rows", rows);
  EXPECT_EQ(DumpCrossings(Hoist(g, kOptions)), "hoisted.2 stepwise\nhoisted.4 stepwise\n");
}

TEST(Hoist, AnOutputThatDoesNotVaryCrosses) {
  Graph g;
  const Value x = g.Input("x", {1, 4}), t = g.Input("t", {1});
  g.MarkOutput("embedding", g.TimestepEmbedding(t, {.dim = 4}));
  g.MarkOutput("x", x);
  const Hoisted cut = Hoist(g, kOptions);
  EXPECT_EQ(DumpText(cut.main),
            "%0 = input() x [1, 4] F32\n"
            "%1 = input() hoisted.2 [1, 4] F32\n"
            "output embedding = %1\n"
            "output x = %0\n");
}

TEST(Hoist, LeavesAGraphThatVariesAllThrough) {
  Graph g;
  g.MarkOutput("out", g.Linear(Scope("fc"), g.Input("x", {1, 4}), 8));
  const Hoisted cut = Hoist(g, {.varying = {"x"}, .stepwise = {}, .num_rows = 1});
  EXPECT_EQ(DumpText(cut.main), DumpText(g));
  EXPECT_TRUE(cut.hoisted.nodes().empty());
  EXPECT_TRUE(cut.crossings.empty());
}

}  // namespace
}  // namespace ingot
