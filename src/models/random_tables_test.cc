// Checkpoints with shapes changed at random: a config is refused, or it builds.
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "models/clip/clip.h"
#include "models/flux/flux.h"
#include "models/t5/t5.h"
#include "models/test_tables.h"
#include "models/vae/vae.h"

namespace ingot {
namespace {

void BuildFlux(Graph& g, const flux::FluxConfig& config) {
  const flux::FluxShape shape = {.batch = 1, .txt_tokens = 3, .img_tokens = 4};
  flux::Flux(g, config, Scope(), DeclareFluxInputs(g, config, shape));
}

void BuildT5(Graph& g, const t5::T5Config& config) {
  t5::T5Encoder(g, config, Scope(), g.Input("input_ids", {1, 3}, DType::kI32));
}

void BuildClip(Graph& g, const clip::ClipConfig& config) {
  const clip::ClipInputs in = {g.Input("input_ids", {1, 1}, DType::kI32),
                               g.Input("eos_idx", {1}, DType::kI32)};
  clip::ClipText(g, config, Scope(), in, config.num_hidden_layers);
}

void BuildVae(Graph& g, const vae::VaeConfig& config) {
  vae::Decode(g, config, Scope(), g.Input("z", {1, 1, 1, config.z_channels}), vae::kFluxLatents);
  vae::Encode(g, config, Scope(), g.Input("x", {1, config.scale(), config.scale(), 3}));
}

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  // `table` with up to three tensors dropped or of another shape.
  TensorTable Mutate(const TensorTable& table) {
    std::vector<std::pair<std::string, TensorInfo>> tensors(table.tensors().begin(),
                                                            table.tensors().end());
    for (int64_t i = Below(3); i >= 0; --i) {
      auto& [name, info] = tensors[static_cast<size_t>(Below(std::ssize(tensors)))];
      if (Below(6) == 0) {
        name += "x";
      } else {
        info.shape = MutateShape(info.shape);
      }
    }
    TensorTable changed(table.source());
    for (auto& [name, info] : tensors) changed.Add(std::move(name), info);
    return changed;
  }

 private:
  int64_t Below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random_);
  }

  Shape MutateShape(Shape shape) {
    constexpr int64_t kDims[] = {0,  1,  2,   3,   7,       16,      31,        32,        48,
                                 64, 96, 128, 256, 1 << 20, 1 << 21, 1LL << 40, INT64_MAX, -1};
    if (shape.rank() == 0 || Below(8) == 0) {
      shape.push_back(1);
    } else {
      shape[static_cast<int>(Below(shape.rank()))] =
          kDims[static_cast<size_t>(Below(std::ssize(kDims)))];
    }
    return shape;
  }

  std::mt19937 random_;
};

// Runs `num_tables` mutations of the config's checkpoint through `from_tensors`
// and builds what it accepts; returns how many those were. What this shows is
// that no CHECK fails on the way.
template <typename Config, typename FromTensors, typename Build>
int CountAccepted(const Config& config, FromTensors from_tensors, Build build) {
  Graph g;
  build(g, config);
  const TensorTable checkpoint = TableOfWeights(g);
  EXPECT_TRUE(from_tensors(checkpoint).ok());
  constexpr int kNumTables = 2000;
  int num_accepted = 0;
  Mutator mutator(1);
  for (int i = 0; i < kNumTables; ++i) {
    const Result<Config> mutated = from_tensors(mutator.Mutate(checkpoint));
    if (!mutated.ok()) {
      EXPECT_TRUE(mutated.status().message().starts_with("checkpoint: "));
      continue;
    }
    Graph rebuilt;
    build(rebuilt, *mutated);
    ++num_accepted;
  }
  EXPECT_LT(num_accepted, kNumTables);
  return num_accepted;
}

TEST(RandomTables, FluxRefusesOrBuilds) {
  flux::FluxConfig tiny;
  tiny.hidden_size = 64;
  tiny.num_heads = 2;
  tiny.axes_dim = {4, 14, 14};
  tiny.depth = 1;
  tiny.depth_single_blocks = 1;
  EXPECT_GT(CountAccepted(tiny, flux::FluxConfigFromTensors, BuildFlux), 0);
}

TEST(RandomTables, T5RefusesOrBuilds) {
  const t5::T5Config tiny = {.vocab_size = 50, .num_heads = 2, .num_layers = 1};
  EXPECT_GT(CountAccepted(tiny, t5::T5ConfigFromTensors, BuildT5), 0);
}

TEST(RandomTables, ClipRefusesOrBuilds) {
  const clip::ClipConfig tiny = {.vocab_size = 60, .num_hidden_layers = 1};
  EXPECT_GT(CountAccepted(tiny, clip::ClipConfigFromTensors, BuildClip), 0);
}

TEST(RandomTables, VaeRefusesOrBuilds) {
  const vae::VaeConfig tiny = {.block_out_channels = {32, 64}, .num_res_blocks = 1};
  EXPECT_GT(CountAccepted(tiny, vae::VaeConfigFromTensors, BuildVae), 0);
}

}  // namespace
}  // namespace ingot
