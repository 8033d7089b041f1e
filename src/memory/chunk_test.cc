#include "memory/chunk.h"

#include <gtest/gtest.h>

#include <numeric>
#include <string>

#include <fmt/format.h>

#include "graph/passes/fuse.h"

namespace ingot {
namespace {

// "%7[0,256) %8[0,256) ...", a group in braces with the nodes that it keeps a chunk of behind it.
std::string Dump(const Graph& graph, const Schedule& schedule) {
  std::string text;
  for (size_t i = 0; i < schedule.steps.size(); ++i) {
    const auto& [node, begin, end, chunk_begin] = schedule.steps[i];
    for (const Schedule::Group& group : schedule.groups) {
      if (group.first_step == static_cast<int32_t>(i)) text += "{ ";
    }
    text += fmt::format("{}%{}", op::Name(graph.nodes()[static_cast<size_t>(node)].op), node);
    text += schedule.steps[i].is_whole() ? " " : fmt::format("[{},{}) ", begin, end);
    for (const Schedule::Group& group : schedule.groups) {
      if (group.last_step != static_cast<int32_t>(i)) continue;
      text += "} ";
      for (int32_t member : group.nodes) {
        const int64_t rows = schedule.buffer_rows[static_cast<size_t>(member)];
        if (rows > 0) text += fmt::format("%{}:{} ", member, rows);
      }
    }
    text.back() = '\n';
  }
  return text;
}

// One step a node, in the order of the graph.
void ExpectWhole(const Graph& graph, int64_t chunk_rows) {
  const Schedule schedule = ChunkTokens(graph, chunk_rows);
  EXPECT_TRUE(schedule.groups.empty());
  int32_t last = -1;
  for (const Step& step : schedule.steps) {
    EXPECT_TRUE(step.is_whole());
    EXPECT_LT(last, step.node);
    last = step.node;
  }
}

Value Linear(Graph& g, const char* name, Value x, int64_t out) {
  return g.Linear(Scope(name), x, out, {.bias = false});
}

// x + mlp(x), fused.
Graph Mlp(int64_t num_tokens) {
  Graph g;
  const Value x = g.Silu(g.Input("x", {1, num_tokens, 8}));
  g.MarkOutput("y", g.Add(x, Linear(g, "2", g.GeluTanh(Linear(g, "0", x, 32)), 8)));
  return Fuse(g);
}

TEST(ChunkTokens, AnMlpTakesTurns) {
  const Graph g = Mlp(600);
  EXPECT_EQ(DumpText(g),
            "%0 = input() x [1, 600, 8] F32\n"
            "%1 = unary(%0) silu [1, 600, 8] F32\n"
            "%2 = weight() 0.weight [32, 8] F32\n"
            "%3 = linear(%1, %2) f32 [1, 600, 32] F32\n"
            "%4 = weight() 2.weight [8, 32] F32\n"
            "%5 = linear(%3, %4, %1) f32 gelu_tanh add [1, 600, 8] F32\n"
            "output y = %5\n");
  EXPECT_EQ(Dump(g, ChunkTokens(g, 256)),
            "unary%1\n"
            "{ linear%3[0,256)\n"
            "linear%5[0,256)\n"
            "linear%3[256,512)\n"
            "linear%5[256,512)\n"
            "linear%3[512,600)\n"
            "linear%5[512,600) } %3:256\n");
  ExpectWhole(g, 0);
  ExpectWhole(g, 768);
  ExpectWhole(Mlp(256), 256);
}

TEST(ChunkTokens, WhatIsReadTwiceOrIsAnOutputStandsWhole) {
  Graph g;
  const Value x = g.Input("x", {1, 600, 8});
  const Value shared = Linear(g, "0", x, 32), output = Linear(g, "1", x, 32);
  g.MarkOutput("y", g.Add(Linear(g, "2", shared, 8), Linear(g, "3", shared, 8)));
  g.MarkOutput("output", output);
  g.MarkOutput("z", Linear(g, "4", output, 8));
  const Schedule schedule = ChunkTokens(g, 256);
  EXPECT_EQ(schedule.buffer_rows[static_cast<size_t>(shared.id)], 0);
  EXPECT_EQ(schedule.buffer_rows[static_cast<size_t>(output.id)], 0);
}

TEST(ChunkTokens, BothSidesOfAGatedMlpShareTheirChunks) {
  Graph g;
  const Value x = g.Input("x", {1, 512, 8});
  const Value gate = Linear(g, "wi_0", x, 32), up = Linear(g, "wi_1", x, 32);
  g.MarkOutput("y", Linear(g, "wo", g.Mul(g.GeluTanh(gate), up), 8));
  EXPECT_EQ(Dump(g, ChunkTokens(g, 256)),
            "{ linear%2[0,256)\n"
            "linear%4[0,256)\n"
            "unary%5[0,256)\n"
            "binary%6[0,256)\n"
            "linear%8[0,256)\n"
            "linear%2[256,512)\n"
            "linear%4[256,512)\n"
            "unary%5[256,512)\n"
            "binary%6[256,512)\n"
            "linear%8[256,512) } %2:256 %4:256 %5:256 %6:256\n");
}

Value Head(Graph& g, Value x) { return g.Reshape(x, {1, g.shape(x)[1], 2, 4}); }
Value Joined(Graph& g, Value x) { return g.Reshape(x, {1, g.shape(x)[1], 8}); }

TEST(ChunkTokens, QueriesGoInBlocksOverWholeKeysAndValues) {
  Graph g;
  const Value x = g.Input("x", {1, 300, 8});
  const Value q = Head(g, Linear(g, "q", x, 8)), k = Head(g, Linear(g, "k", x, 8));
  const Value attn = g.Attention(q, k, Head(g, Linear(g, "v", x, 8)), {});
  g.MarkOutput("y", Linear(g, "o", Joined(g, attn), 8));
  EXPECT_EQ(Dump(g, ChunkTokens(g, 256)),
            "linear%5\n"
            "linear%8\n"
            "{ linear%2[0,256)\n"
            "attention%10[0,256)\n"
            "linear%13[0,256)\n"
            "linear%2[256,300)\n"
            "attention%10[256,300)\n"
            "linear%13[256,300) } %2:256 %10:256\n");
}

TEST(ChunkTokens, ABiasAndAMaskForbidBlocksOfQueries) {
  for (const bool causal : {false, true}) {
    Graph g;
    const Value q = g.Input("q", {1, 300, 2, 4});
    const Value bias = g.Input("bias", {1, 2, 300, 300});
    const Value attn =
        causal ? g.Attention(q, q, q, {.causal = true}) : g.Attention(q, q, q, bias, {});
    g.MarkOutput("y", Linear(g, "o", Joined(g, attn), 8));
    ExpectWhole(g, 256);
  }
}

// qkv is written in slices; what attention reads whole is copied out of the chunk.
TEST(ChunkTokens, OfQkvOnlyItsPartsStandWhole) {
  Graph g;
  const Value qkv = Linear(g, "qkv", g.Input("x", {1, 300, 8}), 24);
  const auto head = [&](int64_t i) { return Head(g, g.Slice(qkv, -1, 8 * i, 8 * i + 8)); };
  const Value weight = g.Weight(Scope(), "norm", {4});
  const Value q = g.RmsNorm(head(0), weight, 1e-6f), k = g.RmsNorm(head(1), weight, 1e-6f);
  g.MarkOutput("attn", g.Attention(q, k, head(2), {}));
  EXPECT_EQ(Dump(g, ChunkTokens(g, 256)),
            "{ linear%2[0,256)\n"
            "slice%4[0,256)\n"
            "rms_norm%6[0,256)\n"
            "slice%7[0,256)\n"
            "rms_norm%9[0,256)\n"
            "slice%10[0,256)\n"
            "linear%2[256,300)\n"
            "slice%4[256,300)\n"
            "rms_norm%6[256,300)\n"
            "slice%7[256,300)\n"
            "rms_norm%9[256,300)\n"
            "slice%10[256,300) } %2:256 %4:256 %7:256\n"
            "attention%12\n");
}

// The rows of a joint attention go to two Linears; the second's begin at 256.
TEST(ChunkTokens, SlicesOfTokensFollowTheRowsTheyShow) {
  for (const int64_t txt_tokens : {256, 77}) {
    Graph g;
    const Value q = g.Input("q", {1, txt_tokens + 300, 2, 4});
    const Value attn = Joined(g, g.Attention(q, q, q, {}));
    const auto rows = [&](int64_t begin, int64_t end) { return g.Slice(attn, 1, begin, end); };
    g.MarkOutput("img", Linear(g, "img", rows(txt_tokens, txt_tokens + 300), 8));
    g.MarkOutput("txt", Linear(g, "txt", rows(0, txt_tokens), 8));
    if (txt_tokens == 77) {  // no cut would be a multiple of kRowGrid of both
      ExpectWhole(g, 256);
      continue;
    }
    EXPECT_EQ(Dump(g, ChunkTokens(g, 256)),
              "{ attention%1[0,256)\n"
              "linear%8[0,256)\n"
              "attention%1[256,512)\n"
              "linear%5[0,256)\n"
              "attention%1[512,556)\n"
              "linear%5[256,300) } %1:256\n");
  }
}

// y reads b whole, and b's chain could share chunks with y's only if it had ended before.
TEST(ChunkTokens, WhatRunsBetweenPartsOfAGroupForbidsIt) {
  Graph g;
  const Value x = g.Input("x", {1, 300, 2, 4});
  const Value q = g.Silu(x);
  const Value keys = g.Affine(g.Permute(q, {0, 2, 1, 3}), 2.0f, 0.0f);
  g.MarkOutput("y", g.Add(q, g.Permute(keys, {0, 2, 1, 3})));
  ExpectWhole(g, 256);
}

TEST(ChunkTokens, PicturesOfABatchStandWhole) {
  Graph g;
  g.MarkOutput("y", Linear(g, "1", Linear(g, "0", g.Input("x", {2, 300, 8}), 32), 8));
  ExpectWhole(g, 256);
}

std::vector<int32_t> OwnBytes(const Graph& graph) {
  std::vector<int32_t> roots(graph.nodes().size());
  std::iota(roots.begin(), roots.end(), 0);
  return roots;
}

TEST(FindLifetimes, WholeValuesLiveThroughTheGroupAndChunksFromStepToStep) {
  const Graph g = Mlp(600);
  const Schedule schedule = ChunkTokens(g, 256);
  const std::vector<BufferLifetime> lifetimes = FindLifetimes(g, schedule, OwnBytes(g));
  std::string text;
  for (const auto& [num_bytes, first, last] : lifetimes) {
    text += fmt::format("{} {}-{}\n", num_bytes, first, last);
  }
  EXPECT_EQ(text,
            "19200 0-7\n"  // the input: all of the run
            "19200 0-6\n"
            "0 0-0\n"
            "32768 1-2\n"
            "0 0-0\n"
            "19200 1-7\n");
}

TEST(FindLifetimes, InPlaceOfTheResidualAnMlpNeedsAChunkMore) {
  const Graph g = Mlp(600);
  std::vector<int32_t> roots = OwnBytes(g);
  roots[5] = 1;
  const auto bytes = [&](int64_t chunk_rows) {
    return LayOutArena(FindLifetimes(g, ChunkTokens(g, chunk_rows), roots)).arena_bytes;
  };
  EXPECT_EQ(bytes(0), 2 * 19200 + 600 * 32 * 4);
  EXPECT_EQ(bytes(256), 2 * 19200 + 256 * 32 * 4);
}

TEST(WeightBytes, CountsWhatAGroupHoldsOnce) {
  const Graph g = Mlp(600);
  const Schedule schedule = ChunkTokens(g, 256);
  const auto f16 = [](std::string_view) { return DType::kF16; };
  EXPECT_EQ(WeightBytes(g, schedule.groups[0].nodes, f16), 2 * 2 * 32 * 8);
}

}  // namespace
}  // namespace ingot
