#include "graph/passes/precision.h"

#include <gtest/gtest.h>

namespace ingot {
namespace {

// Types by the first letter of the name.
DType FileDType(std::string_view name) {
  if (name.starts_with("q")) return DType::kQ8_0;
  if (name.starts_with("h")) return DType::kF16;
  if (name.starts_with("e")) return DType::kF8E4M3;
  return DType::kF32;
}

std::vector<op::Compute> ComputesOfLinears(const Graph& g, Precision precision,
                                           bool takes_f8 = false) {
  std::vector<op::Compute> computes;
  const Graph set = SetPrecision(g, precision, FileDType, takes_f8);
  for (const Node& node : set.nodes()) {
    const auto* linear = std::get_if<op::Linear>(&node.op);
    if (linear != nullptr) computes.push_back(linear->compute);
  }
  return computes;
}

using enum op::Compute;
using Computes = std::vector<op::Compute>;

TEST(Precision, FollowsTheTypeOfALinearsWeight) {
  Graph g;
  const Value x = g.Input("x", {1, 64, 32});
  for (const char* name : {"q", "h", "e", "f"}) g.Linear(Scope(name), x, 8);
  EXPECT_EQ(ComputesOfLinears(g, Precision::kDefault), (Computes{kI8, kI16, kI16, kI16}));
  EXPECT_EQ(ComputesOfLinears(g, Precision::kFast), (Computes{kI8, kI16, kI16, kI16}));
  EXPECT_EQ(ComputesOfLinears(g, Precision::kExact), (Computes{kF32, kF32, kF32, kF32}));
}

TEST(Precision, SensitiveLinearsAndThoseOfFewRowsAPictureStayInF32) {
  Graph g;
  g.Linear(Scope("q0"), g.Input("wide", {1, 64, 32}), 8, {.sensitive = true});
  g.Linear(Scope("q1"), g.Input("few", {4, 31, 32}), 8);  // 124 rows of four pictures
  g.Linear(Scope("q2"), g.Input("enough", {4, 32, 32}), 8);
  g.Linear(Scope("q3"), g.Input("vec", {64, 32}), 8);
  EXPECT_EQ(ComputesOfLinears(g, Precision::kDefault), (Computes{kF32, kF32, kI8, kF32}));
}

TEST(Precision, FastLinearsAreInF8WhereItIsTakenButSensitiveOnesAndThoseOfFewRows) {
  Graph g;
  const Value x = g.Input("x", {1, 32, 32});
  for (const char* name : {"q", "h", "e", "f"}) g.Linear(Scope(name), x, 8);
  g.Linear(Scope("q0"), x, 8, {.sensitive = true});
  g.Linear(Scope("q1"), g.Input("few", {4, 31, 32}), 8);
  EXPECT_EQ(ComputesOfLinears(g, Precision::kFast, true),
            (Computes{kF8, kF8, kF8, kF8, kF32, kF32}));
  EXPECT_EQ(ComputesOfLinears(g, Precision::kDefault, true),
            (Computes{kI8, kI16, kI16, kI16, kF32, kF32}));
  EXPECT_EQ(ComputesOfLinears(g, Precision::kExact, true), Computes(6, kF32));
}

TEST(Precision, CausalAttentionStaysInF32) {
  Graph g;
  const Value q = g.Input("q", {1, 64, 2, 8});
  g.MarkOutput("all", g.Attention(q, q, q, {}));
  g.MarkOutput("causal", g.Attention(q, q, q, {.causal = true}));
  const auto computes = [&](Precision precision) {
    const Graph set = SetPrecision(g, precision, FileDType);
    return Computes{std::get<op::Attention>(set.nodes()[1].op).compute,
                    std::get<op::Attention>(set.nodes()[2].op).compute};
  };
  EXPECT_EQ(computes(Precision::kFast), (Computes{kI8, kF32}));
  EXPECT_EQ(computes(Precision::kDefault), (Computes{kI16, kF32}));
  EXPECT_EQ(computes(Precision::kExact), (Computes{kF32, kF32}));
}

TEST(Precision, PicturesThatOnlyConvolutionsReadAreF16) {
  Graph g;
  const Value x = g.Input("x", {1, 4, 4, 32});
  const Value a = g.Conv2d(Scope("a"), x, 32, 1, {});
  g.New(op::GroupNormStats{}, {a});
  const Value b = g.Conv2d(Scope("b"), a, 32, 1, {});  // read by a norm as well
  const Value c = g.Conv2d(Scope("c"), b, 32, 1, {});  // an output
  g.GroupNorm(Scope("norm"), b, 32, 1e-6f);
  g.MarkOutput("c", c);
  const Graph set = SetPrecision(g, Precision::kDefault, FileDType);
  EXPECT_EQ(set.node(a).dtype, DType::kF16);
  EXPECT_EQ(set.node(b).dtype, DType::kF32);
  EXPECT_EQ(set.node(c).dtype, DType::kF32);
  EXPECT_EQ(std::get<op::Conv2d>(set.node(b).op).compute, kI16);

  const Graph exact = SetPrecision(set, Precision::kExact, FileDType);
  EXPECT_EQ(exact.node(a).dtype, DType::kF32);
  EXPECT_EQ(std::get<op::Conv2d>(exact.node(b).op).compute, kF32);
}

}  // namespace
}  // namespace ingot
