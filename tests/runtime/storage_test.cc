// Views, concatenations and in-place ops: what they save, and that they change no value.
#include <gtest/gtest.h>

#include <random>

#include "network.h"

namespace ingot {
namespace {

size_t NumSteps(const Graph& graph, const Device& device) {
  return AssignStorage(graph, device, ChunkTokens(graph, 0)).steps.size();
}

TEST(Storage, TheStreamsOfADoubleBlockAreJoinedAndSplitWithoutACopy) {
  Graph g;
  const Value txt = g.Silu(g.Input("txt", {1, 16, 64})), img = g.Silu(g.Input("img", {1, 48, 64}));
  const Value joint = g.Concat({txt, img}, 1);
  g.MarkOutput("txt", g.Silu(g.Slice(joint, 1, 0, 16)));
  g.MarkOutput("img", g.Silu(g.Slice(joint, 1, 16, 64)));
  const Storage storage = AssignStorage(g, WatchedDevice(), ChunkTokens(g, 0));
  EXPECT_EQ(storage.steps.size(), 4u);  // the silus
  EXPECT_EQ(storage.places[static_cast<size_t>(img.id)].root, joint.id);
  EXPECT_EQ(storage.places[static_cast<size_t>(img.id)].offset, 16 * 64);
}

TEST(Storage, ColumnsAreViewsInRunsWhereAllUsersTakeThem) {
  Graph g;
  const Value qkv = g.Silu(g.Input("x", {1, 10, 192}));
  const Value part = g.Slice(g.Slice(qkv, -1, 0, 128), -1, 64, 128);
  g.MarkOutput("y", g.Silu(g.Reshape(part, {1, 10, 4, 16})));
  WatchedDevice device;
  const Storage storage = AssignStorage(g, device, ChunkTokens(g, 0));
  EXPECT_EQ(storage.steps.size(), 2u);
  const ValuePlace& place = storage.places[static_cast<size_t>(part.id)];
  EXPECT_EQ(place.root, qkv.id);
  EXPECT_EQ(place.offset, 64);
  EXPECT_EQ(place.run_elements, 64);
  EXPECT_EQ(place.run_stride, 192);
  device.accepts_runs = false;
  EXPECT_EQ(NumSteps(g, device), 4u);
}

TEST(Storage, AnOutputIsNeverInRuns) {
  Graph g;
  g.MarkOutput("y", g.Slice(g.Silu(g.Input("x", {1, 10, 192})), -1, 0, 64));
  EXPECT_EQ(NumSteps(g, WatchedDevice()), 2u);
}

TEST(Storage, AnOpWritesOverAnOperandThatDiesAndOverNoOther) {
  Graph g;
  const Value x = g.Input("x", {4, 64});
  const Value a = g.Silu(x);    // not over an input
  const Value b = g.Silu(a);    // not over a: c reads it
  const Value c = g.Add(b, a);  // over b
  const Value d = g.Mul(c, c);  // not over c: it is both operands
  const Value e = g.Silu(d);    // over d
  g.MarkOutput("d", g.Reshape(e, {2, 128}));
  const Value f = g.Silu(e);  // not over an output
  g.MarkOutput("f", f);
  const Storage storage = AssignStorage(g, WatchedDevice(), ChunkTokens(g, 0));
  const auto root = [&](Value value) { return storage.places[static_cast<size_t>(value.id)].root; };
  EXPECT_EQ(root(a), a.id);
  EXPECT_EQ(root(b), b.id);
  EXPECT_EQ(root(c), b.id);
  EXPECT_EQ(root(d), d.id);
  EXPECT_EQ(root(e), d.id);
  EXPECT_EQ(root(f), f.id);
}

TEST(Storage, InAGroupAnOpWritesOverRowsThatNoLaterChunkReads) {
  for (const bool reads_whole : {false, true}) {
    Graph g;
    const Value x = g.Silu(g.Input("x", {1, 512, 2, 32}));
    const Value q = g.Affine(x, 2.0f, 0.0f);
    const Value y = reads_whole ? g.Attention(q, x, x, {}) : g.Silu(q);
    const Value sum = g.Add(x, y);
    g.MarkOutput("sum", sum);
    const auto root = [&](const Schedule& schedule) {
      return AssignStorage(g, WatchedDevice(), schedule).places[static_cast<size_t>(sum.id)].root;
    };
    const Schedule schedule = ChunkTokens(g, 256);
    ASSERT_EQ(schedule.groups.size(), 1u);
    EXPECT_EQ(schedule.groups[0].nodes, (std::vector<int32_t>{q.id, y.id, sum.id}));
    EXPECT_EQ(root(ChunkTokens(g, 0)), x.id);
    EXPECT_EQ(root(schedule), reads_whole ? sum.id : x.id);
  }
}

// Ops on values of width 64 and some rows, picked at random.
Graph RandomGraph(std::mt19937& random) {
  Graph g;
  std::vector<Value> values = {g.Input("a", {1, 8, 64}), g.Input("b", {1, 8, 64}),
                               g.Input("c", {1, 4, 128})};
  const auto any = [&] { return values[random() % values.size()]; };
  const auto add_op = [&](Value x) -> Value {
    const Shape shape = g.shape(x);
    const int64_t rows = shape[1], width = shape[2];
    switch (random() % 8) {
      case 0:
        return g.Silu(x);
      case 1:
        return g.Affine(x, 0.5f, 0.25f);
      case 2: {
        const Value y = any();
        return g.shape(y) == shape ? g.Add(x, y) : g.Mul(x, x);
      }
      case 3:
        return rows > 1 ? g.Slice(x, 1, rows / 2, rows) : g.Silu(x);
      case 4:
        return width > 64 ? g.Slice(x, 2, 64, 128) : g.Silu(x);
      case 5: {
        const Value y = any();
        return g.shape(y)[2] == width && rows < 40 ? g.Concat({x, y}, 1) : g.Silu(x);
      }
      case 6: {
        const Value y = any();
        return g.shape(y)[1] == rows && width < 400 ? g.Concat({x, y}, 2) : g.Silu(x);
      }
      default:
        return rows % 2 == 0 ? g.Reshape(x, {1, rows / 2, width * 2})
                             : g.Reshape(x, {1, rows * width / 64, 64});
    }
  };
  for (int i = 0; i < 25; ++i) values.push_back(add_op(any()));
  for (int i = 0; i < 3; ++i) g.MarkOutput(std::to_string(i), any());
  g.MarkOutput("last", values.back());
  return g;
}

std::vector<std::vector<float>> OutputsOf(const Graph& graph, WatchedDevice& device,
                                          const WeightsFile& file, size_t* num_steps) {
  const Program program = Compile(graph, file, device);
  *num_steps += program.steps().size();
  auto execution = Execution::Start(program, device);
  std::vector<std::vector<float>> outputs;
  for (int run = 0; run < 2; ++run) {
    for (const char* name : {"a", "b", "c"}) {
      float value = static_cast<float>(name[0] + run);
      for (float& x : (*execution)->Input(name).As<float>())
        x = (value = value * 1.3f) > 9 ? value = value / 9 : value;
    }
    EXPECT_TRUE((*execution)->Run({}).ok());
    for (const Graph::Output& output : graph.outputs()) {
      const auto values = (*execution)->Output(output.name).As<float>();
      outputs.emplace_back(values.begin(), values.end());
    }
  }
  return outputs;
}

TEST(Storage, RandomGraphsGiveTheSameBytesWithAndWithoutCopies) {
  std::mt19937 random(5);
  Graph with_a_weight;  // a file needs one
  with_a_weight.Weight(Scope(), "weight", {32});
  const WeightsFile file(with_a_weight);
  WatchedDevice sharing, copying;
  copying.accepts_runs = copying.writes_in_place = false;
  size_t num_sharing = 0, num_copying = 0;
  for (int round = 0; round < 300; ++round) {
    const Graph graph = RandomGraph(random);
    ASSERT_EQ(OutputsOf(graph, sharing, file, &num_sharing),
              OutputsOf(graph, copying, file, &num_copying))
        << DumpText(graph);
  }
  EXPECT_LT(num_sharing, num_copying);
}

}  // namespace
}  // namespace ingot
