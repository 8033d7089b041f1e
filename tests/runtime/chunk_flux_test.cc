// What Flux 12B needs for activations when its tokens go in chunks.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include <fmt/format.h>

#include "devices/cpu/cpu_device.h"
#include "graph/passes/fuse.h"
#include "graph/passes/hoist.h"
#include "graph/passes/split.h"
#include "memory/chunk.h"
#include "models/flux/flux.h"
#include "runtime/storage.h"

namespace ingot {
namespace {

// What runs in every step, of a picture of so many tokens and 256 of text; Q4_0.
Graph MainOfFlux(int64_t img_tokens) {
  Graph g;
  const flux::FluxConfig config;
  const flux::FluxShape shape = {.txt_tokens = 256, .img_tokens = img_tokens};
  g.MarkOutput("velocity",
               flux::Flux(g, config, Scope(), flux::DeclareFluxInputs(g, config, shape)));
  const Hoisted cut = Hoist(g, {.varying = {"img"}, .stepwise = {"timesteps"}, .num_rows = 4});
  const auto q4_0 = [](std::string_view) { return DType::kQ4_0; };
  return SetPrecision(Split(Fuse(cut.main)), Precision::kDefault, q4_0);
}

TEST(ChunkFlux, GroupsAreThoseOfEveryBlock) {
  const Graph g = MainOfFlux(4096);
  const Schedule schedule = ChunkTokens(g, 256);
  std::map<std::string, int> counts;  // of groups, by their products
  for (const Schedule::Group& group : schedule.groups) {
    std::string products;
    for (int32_t id : group.nodes) {
      const Node& node = g.nodes()[static_cast<size_t>(id)];
      if (std::holds_alternative<op::Attention>(node.op)) products += "attention ";
      const auto* linear = std::get_if<op::Linear>(&node.op);
      if (linear == nullptr) continue;
      const Value weight = node.inputs[static_cast<size_t>(op::OperandsOf(*linear).weight)];
      const std::string& name = std::get<op::Weight>(g.node(weight).op).name;
      products += name.substr(name.find('.', name.find('.') + 1) + 1) + " ";
    }
    ++counts[products];
  }
  EXPECT_EQ(counts, (std::map<std::string, int>{
                        {"img_attn.qkv.weight ", 19},
                        {"attention img_attn.proj.weight txt_attn.proj.weight ", 19},
                        {"img_mlp.0.weight img_mlp.2.weight ", 19},
                        {"linear1.weight ", 38},
                        {"attention linear1.weight linear2.weight ", 37},
                        // and the final layer, which reads the last block's image tokens
                        {"attention linear1.weight linear2.weight weight ", 1}}));
}

struct Need {
  double activations, largest_weights;  // MiB
};

Need NeedOf(const Graph& g, int64_t chunk_rows, const Device& device) {
  Schedule schedule = ChunkTokens(g, chunk_rows);
  const Storage storage = AssignStorage(g, device, schedule);
  schedule.KeepNodes(storage.steps);
  std::vector<int32_t> roots;
  for (const ValuePlace& place : storage.places) roots.push_back(place.root);
  const ArenaLayout layout = LayOutArena(FindLifetimes(g, schedule, roots));
  EXPECT_LE(static_cast<double>(layout.arena_bytes),
            1.02 * static_cast<double>(layout.max_live_bytes));
  const auto q4_0 = [](std::string_view) { return DType::kQ4_0; };
  int64_t weights = 0;
  for (const Step& step : schedule.steps) {
    if (step.is_whole()) weights = std::max(weights, WeightBytes(g, {&step.node, 1}, q4_0));
  }
  for (const Schedule::Group& group : schedule.groups) {
    weights = std::max(weights, WeightBytes(g, group.nodes, q4_0));
  }
  constexpr double kMebibyte = 1 << 20;
  return {static_cast<double>(layout.max_live_bytes) / kMebibyte,
          static_cast<double>(weights) / kMebibyte};
}

// Inputs and outputs of main included; without the workspace of kernels.
TEST(ChunkFlux, Memory) {
  const std::unique_ptr<Device> device = *OpenCpuDevice({.num_threads = 1});
  std::string text;
  for (const int64_t side : {512, 1024}) {
    const Graph g = MainOfFlux(side / 16 * side / 16);
    for (const int64_t chunk_rows : {0, 1024, 512, 256}) {
      const Need need = NeedOf(g, chunk_rows, *device);
      text += fmt::format("{} {}: {:.1f} and {:.1f}\n", side, chunk_rows, need.activations,
                          need.largest_weights);
    }
  }
  // Picture, chunk: MiB of activations, and of the weights that a step or a group holds. At 512x512
  // chunks of 1024 of 1280 tokens cost more than they save: beside them stand q, k and v.
  EXPECT_EQ(text,
            "512 0: 112.9 and 25.3\n"
            "512 1024: 140.2 and 45.7\n"
            "512 512: 104.2 and 45.7\n"
            "512 256: 86.2 and 45.7\n"
            "1024 0: 367.2 and 25.3\n"
            "1024 1024: 287.2 and 45.7\n"
            "1024 512: 251.2 and 45.7\n"
            "1024 256: 233.2 and 45.7\n");
}

}  // namespace
}  // namespace ingot
