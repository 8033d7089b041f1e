// The networks against the reference implementations, on tiny random weights.
#include <gtest/gtest.h>

#include <map>

#include "golden_model.h"
#include "graph/passes/fuse.h"
#include "graph/passes/hoist.h"
#include "graph/passes/precision.h"
#include "graph/passes/split.h"
#include "memory/chunk.h"
#include "models/clip/clip.h"
#include "models/clip/names.h"
#include "models/flux/flux.h"
#include "models/flux/layers.h"
#include "models/flux/names.h"
#include "models/t5/names.h"
#include "models/t5/t5.h"
#include "models/vae/names.h"
#include "models/vae/vae.h"

namespace ingot {
namespace {

// Both sides compute in f32 on the same weights and differ in the order of
// their sums: up to 2e-6. The whole Flux differs by 1.3e-5, because the
// reference takes the sine of arguments up to 3500 (guidance 3.5) in f32: its
// timestep embedding is off by 1.1e-4. Shift and scale exchanged, a missing
// causal mask or an epsilon of 1e-3 fail; 1e-5 for 1e-6 would not.
constexpr double kTolerance = 1e-4;

// Reference kernels of plain and of fused ops differ where the plain ones round an intermediate
// to f32, one part in 2^24: up to 3.0e-7 over the networks here.
constexpr double kFusedTolerance = 1e-6;

// By both sets of kernels, as the model writes the graph and fused; the errors also go to the XML
// report.
void ExpectMatchesReference(const GoldenModel& model, const Graph& graph) {
  const Graph fused = Fuse(graph);
  const std::map<std::string, CpuKernels> kernels_by_name = {{"reference", CpuKernels::kReference},
                                                             {"fast", CpuKernels::kFast}};
  for (const auto& [name, kernels] : kernels_by_name) {
    const double error = model.ErrorOf(graph, kernels);
    const double fused_error = model.ErrorOf(fused, kernels);
    testing::Test::RecordProperty("max_relative_error_" + name, fmt::format("{:.2e}", error));
    EXPECT_LE(error, kTolerance) << name;
    EXPECT_LE(fused_error, kTolerance) << name << ", fused";
  }
  const double difference = MaxRelativeError(model.Run(fused, CpuKernels::kReference),
                                             model.Run(graph, CpuKernels::kReference));
  testing::Test::RecordProperty("fused_difference", fmt::format("{:.2e}", difference));
  EXPECT_LE(difference, kFusedTolerance);
}

template <typename Config>
Config MustHave(const Result<Config>& config) {
  EXPECT_TRUE(config.ok()) << config.status().message();
  return *config;
}

class FluxGolden : public testing::Test {
 protected:
  FluxGolden() { config_ = MustHave(flux::FluxConfigFromTensors(model_.table())); }

  // Shapes of make_goldens.py flux_inputs.
  Graph BuildFlux(const flux::FluxConfig& config, const std::string& output) {
    Graph g;
    const flux::FluxShape shape = {.batch = 2, .txt_tokens = 4, .img_tokens = 15};
    g.MarkOutput(output, Flux(g, config, Scope(), DeclareFluxInputs(g, config, shape)));
    return g;
  }

  flux::Conditioning BlockConditioning(Graph& g) {
    const Value txt_ids = model_.Input(g, "txt_ids");
    const Value ids = g.Concat({txt_ids, model_.Input(g, "img_ids")}, 1);
    return {model_.Input(g, "block_vec"), g.RopeTable(ids, config_.axes_dim, config_.theta)};
  }

  GoldenModel model_{"flux.safetensors", flux::CanonicalFluxName};
  flux::FluxConfig config_;
};

TEST_F(FluxGolden, DevWithGuidanceOnAnOddPicture) {
  ExpectMatchesReference(model_, BuildFlux(config_, "dev"));
}

TEST_F(FluxGolden, SchnellWithoutGuidance) {
  flux::FluxConfig schnell = config_;
  schnell.guidance_embed = false;
  ExpectMatchesReference(model_, BuildFlux(schnell, "schnell"));
}

TEST_F(FluxGolden, OneDoubleBlock) {
  Graph g;
  const flux::Conditioning cond = BlockConditioning(g);
  const flux::ImgTxt in = {model_.Input(g, "block_img"), model_.Input(g, "block_txt")};
  const flux::ImgTxt out =
      flux::DoubleStreamBlock(g, config_, Scope("double_blocks") / 0, in, cond);
  g.MarkOutput("double_img", out.img);
  g.MarkOutput("double_txt", out.txt);
  ExpectMatchesReference(model_, g);
}

TEST_F(FluxGolden, OneSingleBlock) {
  Graph g;
  const flux::Conditioning cond = BlockConditioning(g);
  const Value txt = model_.Input(g, "block_txt");
  const Value joint = g.Concat({txt, model_.Input(g, "block_img")}, 1);
  g.MarkOutput("single",
               flux::SingleStreamBlock(g, config_, Scope("single_blocks") / 0, joint, cond));
  ExpectMatchesReference(model_, g);
}

TEST_F(FluxGolden, QuantizedToQ4_0AndQ8_0) {
  const GoldenModel quantized("flux_q4_q8.gguf", flux::CanonicalFluxName);
  const flux::FluxConfig config = MustHave(flux::FluxConfigFromTensors(quantized.table()));
  ExpectMatchesReference(quantized, BuildFlux(config, "dev"));
}

NamedValues PatternedInputs(const Graph& g) {
  NamedValues inputs;
  for (const Node& node : g.nodes()) {
    const auto* input = std::get_if<op::Input>(&node.op);
    if (input == nullptr) continue;
    std::vector<float>& values = inputs[input->name];
    for (int64_t i = 0; i < node.shape.num_elements(); ++i) {
      values.push_back(static_cast<float>(i * 37 % 64) / 32.0f - 1.0f);
    }
  }
  return inputs;
}

// The step's rows of an output of `hoisted` that has `num_steps` of them.
std::vector<float> RowsOfStep(const std::vector<float>& values, size_t step, size_t num_steps) {
  const auto row = static_cast<ptrdiff_t>(values.size() / num_steps);
  const auto begin = values.begin() + static_cast<ptrdiff_t>(step) * row;
  return {begin, begin + row};
}

TEST_F(FluxGolden, HoistedGivesTheSameBitsAtEveryStep) {
  const std::vector<float> timesteps = {1.0f, 0.75f, 0.25f};
  Graph g;
  const flux::FluxInputs in = DeclareFluxInputs(g, config_, {.txt_tokens = 4, .img_tokens = 15});
  g.MarkOutput("velocity", Flux(g, config_, Scope(), in));
  const Hoisted cut =
      Hoist(g, {.varying = {"img"}, .stepwise = {"timesteps"}, .num_rows = std::ssize(timesteps)});
  NamedValues inputs = PatternedInputs(g);
  for (const CpuKernels kernels : {CpuKernels::kReference, CpuKernels::kFast}) {
    inputs["timesteps"] = timesteps;
    const NamedValues hoisted = model_.Run(cut.hoisted, kernels, inputs);
    for (size_t step = 0; step < timesteps.size(); ++step) {
      inputs["timesteps"] = {timesteps[step]};
      NamedValues main_inputs = inputs;
      for (const auto& [name, stepwise] : cut.crossings) {
        const std::vector<float>& values = hoisted.at(name);
        main_inputs[name] = stepwise ? RowsOfStep(values, step, timesteps.size()) : values;
      }
      EXPECT_EQ(model_.Run(cut.main, kernels, main_inputs), model_.Run(g, kernels, inputs));
      if (kernels == CpuKernels::kFast) continue;
      EXPECT_LE(MaxRelativeError(model_.Run(Fuse(cut.main), kernels, main_inputs),
                                 model_.Run(g, kernels, inputs)),
                kFusedTolerance);
    }
  }
}

// Queries in blocks, MLPs and qkv by chunks of tokens; with text of 256 tokens also the joint
// attention, whose rows go to two Linears. The last chunk of the picture is one row.
TEST_F(FluxGolden, ChunksOfTokensGiveTheSameBits) {
  const GoldenModel quantized("flux_q4_q8.gguf", flux::CanonicalFluxName);
  for (const GoldenModel* model : std::initializer_list<const GoldenModel*>{&model_, &quantized}) {
    const flux::FluxConfig config = MustHave(flux::FluxConfigFromTensors(model->table()));
    const DType dtype = model == &model_ ? DType::kF32 : DType::kQ4_0;
    const auto dtype_of = [&](std::string_view) { return dtype; };
    for (const int64_t txt_tokens : {256, 77}) {
      Graph g;
      const flux::FluxShape shape = {.txt_tokens = txt_tokens, .img_tokens = 513};
      const flux::FluxInputs in = DeclareFluxInputs(g, config, shape);
      g.MarkOutput("velocity", Flux(g, config, Scope(), in));
      const NamedValues inputs = PatternedInputs(g);
      for (const Precision precision : {Precision::kExact, Precision::kDefault, Precision::kFast}) {
        const Graph fused = SetPrecision(Fuse(g), precision, dtype_of);
        const Graph split = Split(fused);
        const NamedValues whole = model->Run(fused, CpuKernels::kFast, inputs);
        EXPECT_EQ(model->Run(split, CpuKernels::kFast, inputs), whole);
        for (const int64_t chunk_rows : {256, 512}) {
          EXPECT_FALSE(ChunkTokens(split, chunk_rows).groups.empty());
          EXPECT_EQ(model->Run(split, CpuKernels::kFast, inputs, chunk_rows), whole)
              << Name(precision) << ", chunks of " << chunk_rows << ", text of " << txt_tokens;
        }
      }
    }
  }
  Graph g;
  const flux::FluxShape shape = {.txt_tokens = 256, .img_tokens = 300};
  g.MarkOutput("velocity", Flux(g, config_, Scope(), DeclareFluxInputs(g, config_, shape)));
  const NamedValues inputs = PatternedInputs(g);
  EXPECT_EQ(model_.Run(Split(Fuse(g)), CpuKernels::kReference, inputs, 256),
            model_.Run(Fuse(g), CpuKernels::kReference, inputs));
}

TEST(T5Golden, BeyondTheLastPositionBucket) {
  const GoldenModel model("t5.safetensors", t5::CanonicalT5Name);
  const t5::T5Config config = MustHave(t5::T5ConfigFromTensors(model.table()));
  Graph g;
  const Value ids = model.Input(g, "input_ids");
  g.MarkOutput("last_hidden_state", t5::T5Encoder(g, config, Scope(), ids));
  ExpectMatchesReference(model, g);
}

class ClipGolden : public testing::Test {
 protected:
  clip::ClipOutputs BuildClip(Graph& g, int num_layers) {
    const clip::ClipConfig config = MustHave(clip::ClipConfigFromTensors(model_.table()));
    const Value ids = model_.Input(g, "input_ids");
    return clip::ClipText(g, config, Scope(), {ids, model_.Input(g, "eos_idx")}, num_layers);
  }

  GoldenModel model_{"clip.safetensors", clip::CanonicalClipName};
};

TEST_F(ClipGolden, LastHiddenStateAndPooledRow) {
  Graph g;
  const clip::ClipOutputs out = BuildClip(g, 2);
  g.MarkOutput("last_hidden_state", out.last_hidden_state);
  g.MarkOutput("pooler_output", out.pooler_output);
  ExpectMatchesReference(model_, g);
}

TEST_F(ClipGolden, HiddenStateBeforeTheLastLayer) {
  Graph g;
  g.MarkOutput("skip_1", BuildClip(g, 1).hidden_state);
  ExpectMatchesReference(model_, g);
}

class VaeGolden : public testing::Test {
 protected:
  static vae::VaeConfig Config(const GoldenModel& model) {
    return MustHave(vae::VaeConfigFromTensors(model.table()));
  }

  GoldenModel flux_{"vae_flux.safetensors", vae::CanonicalVaeName};
};

// The goldens are torch's, channels first.
Value ChannelsLast(Graph& g, Value x) { return g.Permute(x, {0, 2, 3, 1}); }
Value ChannelsFirst(Graph& g, Value x) { return g.Permute(x, {0, 3, 1, 2}); }

TEST_F(VaeGolden, DecodesAnOddFluxLatent) {
  Graph g;
  const Value z = ChannelsLast(g, flux_.Input(g, "z"));
  const Value decoded = vae::Decode(g, Config(flux_), Scope(), z, vae::kFluxLatents);
  g.MarkOutput("decoded", ChannelsFirst(g, decoded));
  ExpectMatchesReference(flux_, g);
}

TEST_F(VaeGolden, EncodesAPicture) {
  Graph g;
  const Value x = ChannelsLast(g, flux_.Input(g, "x"));
  const vae::Moments moments = vae::Encode(g, Config(flux_), Scope(), x);
  g.MarkOutput("mean", ChannelsFirst(g, moments.mean));
  g.MarkOutput("logvar", ChannelsFirst(g, moments.logvar));
  ExpectMatchesReference(flux_, g);
}

TEST_F(VaeGolden, DecodesForStableDiffusionFromTheNamesOfDiffusers) {
  const GoldenModel sd("vae_sd_diffusers.safetensors", vae::CanonicalVaeName);
  EXPECT_TRUE(Config(sd).quant_conv);
  EXPECT_TRUE(Config(sd).linear_attn);
  Graph g;
  const Value z = ChannelsLast(g, sd.Input(g, "z"));
  const Value decoded = vae::Decode(g, Config(sd), Scope(), z, vae::kSd15Latents);
  g.MarkOutput("decoded", ChannelsFirst(g, decoded));
  ExpectMatchesReference(sd, g);
}

// Half a part in 2^11 a picture, 14 of them one behind the other: 7.0e-4. Reference kernels
// compute in double whatever Compute says.
TEST_F(VaeGolden, PicturesInF16BetweenConvolutions) {
  Graph g;
  const Value z = ChannelsLast(g, flux_.Input(g, "z"));
  const Value decoded = vae::Decode(g, Config(flux_), Scope(), z, vae::kFluxLatents);
  g.MarkOutput("decoded", ChannelsFirst(g, decoded));
  const Graph set =
      SetPrecision(Fuse(g), Precision::kDefault, [](std::string_view) { return DType::kF32; });
  const auto is_f16 = [](const Node& node) { return node.dtype == DType::kF16; };
  EXPECT_EQ(std::ranges::count_if(set.nodes(), is_f16), 14);
  const double error = flux_.ErrorOf(set, CpuKernels::kReference);
  RecordProperty("max_relative_error", fmt::format("{:.2e}", error));
  EXPECT_LE(error, 2e-3);
}

}  // namespace
}  // namespace ingot
