// Plans of a grid of jobs against plans.txt beside this file: a change of policy shows as its diff.
//
// INGOT_WRITE_PLANS=1 writes the file anew in place of comparing. The full models are headers alone
// (support/header_only_gguf.h): a plan reads no tensor.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/byte_size.h"
#include "devices/cpu/cpu_device.h"
#include "models/flux/flux.h"
#include "models/test_tables.h"
#include "pipeline/flux_pipeline.h"
#include "support/header_only_gguf.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGolden = INGOT_SOURCE_DIR "/tests/golden/plans/plans.txt";
const fs::path kDemoModels = INGOT_SOURCE_DIR "/demo/models";
constexpr int64_t kMiB = 1 << 20, kGiB = 1 << 30;

template <typename T>
T Must(Result<T> result) {
  EXPECT_TRUE(result.ok()) << result.status().message();
  INGOT_CHECK(result.ok());
  return *std::move(result);
}

// Workspaces depend on the number of threads: the file is of two.
std::unique_ptr<Device> OpenDevice(const std::string& target) {
  return Must(OpenCpuDevice({.num_threads = 2, .kernels = CpuKernels::kFast, .target = target}));
}

// The tensors of `graph`, matrices in the type that `matrix_dtype(name)` gives.
template <typename MatrixDType>
std::vector<TensorSpec> Tensors(const Graph& graph, DType vector_dtype, MatrixDType matrix_dtype) {
  const TensorTable table = TableOfWeights(graph);
  std::vector<TensorSpec> tensors;
  for (const auto& [name, info] : table.tensors()) {
    const DType dtype = info.shape.rank() == 1 ? vector_dtype : matrix_dtype(name);
    tensors.push_back({name, dtype, info.shape});
  }
  return tensors;
}

// As city96 quantizes Flux: blocks in `block_dtype`, other matrices in F16, vectors in F32.
std::vector<TensorSpec> FluxTensors(bool guidance_embed, DType block_dtype) {
  flux::FluxConfig config;
  config.guidance_embed = guidance_embed;
  Graph g;
  flux::Flux(g, config, Scope(), DeclareFluxInputs(g, config, {}));
  return Tensors(g, DType::kF32, [&](const std::string& name) {
    return name.find("_blocks.") != std::string::npos ? block_dtype : DType::kF16;
  });
}

std::vector<TensorSpec> T5Tensors() {  // city96/t5-v1_1-xxl-encoder-gguf, Q8_0
  Graph g;
  t5::T5Encoder(g, t5::T5Config(), Scope(), g.Input("input_ids", {1, 3}, DType::kI32));
  return Tensors(g, DType::kF32, [](const std::string& name) {
    return name.find("relative_attention_bias") != std::string::npos ? DType::kF16 : DType::kQ8_0;
  });
}

std::vector<TensorSpec> ClipTensors() {  // comfyanonymous/flux_text_encoders, clip_l
  const clip::ClipConfig config;
  Graph g;
  const clip::ClipInputs in = {g.Input("input_ids", {1, 1}, DType::kI32),
                               g.Input("eos_idx", {1}, DType::kI32)};
  clip::ClipText(g, config, Scope(), in, config.num_hidden_layers);
  return Tensors(g, DType::kF16, [](const std::string&) { return DType::kF16; });
}

std::vector<TensorSpec> VaeTensors() {  // black-forest-labs/FLUX.1-schnell, ae
  const vae::VaeConfig config;
  Graph g;
  vae::Decode(g, config, Scope(), g.Input("z", {1, 1, 1, config.z_channels}), vae::kFluxLatents);
  vae::Encode(g, config, Scope(), g.Input("x", {1, config.scale(), config.scale(), 3}));
  return Tensors(g, DType::kF32, [](const std::string&) { return DType::kF32; });
}

// A models folder of the full sizes; the vocabularies are the demo's, which any table holds.
class FullModels {
 public:
  FullModels() {
    INGOT_CHECK(::mkdtemp(folder_.data()) != nullptr);
    Write("schnell-Q4_0", FluxTensors(false, DType::kQ4_0));
    Write("dev-Q8_0", FluxTensors(true, DType::kQ8_0));
    Write("vae", VaeTensors());
    Write("clip/clip", ClipTensors());
    Write("t5/t5", T5Tensors());
    const fs::path encoders = kDemoModels / "text_encoder";
    fs::copy(encoders / "ingot-demo-clip" / "vocab.json", path() / "clip");
    fs::copy(encoders / "ingot-demo-clip" / "merges.txt", path() / "clip");
    fs::copy(encoders / "ingot-demo-t5" / "spiece.model", path() / "t5");
  }
  ~FullModels() { fs::remove_all(path()); }

  fs::path path() const { return folder_; }

 private:
  void Write(const std::string& name, const std::vector<TensorSpec>& tensors) {
    const fs::path file = path() / (name + ".gguf");
    fs::create_directories(file.parent_path());
    const Status status = WriteHeaderOnlyGguf(file, tensors);
    EXPECT_TRUE(status.ok()) << status.message();
  }

  std::string folder_ = (fs::temp_directory_path() / "ingot-plans-XXXXXX").string();
};

// Of no machine: plans are a function of what they are given.
DeviceRates FixedRates() {
  DeviceRates rates = {.weights = 2e9,
                       .filters = 2e8,
                       .bytes = 4e9,
                       .calls = 1e5,
                       .allocated_bytes = 2e9,
                       .reads = {.bytes_per_s = 1e9}};
  rates.ops.fill(1e11);
  return rates;
}

struct GridJob {
  std::string model;
  int width, height, steps, batch;
};

Job Resolve(const GridJob& grid, const fs::path& models_dir) {
  return Must(ResolveJob({.prompt = "a red house",
                          .models = {.models_dir = models_dir, .model = grid.model},
                          .width = grid.width,
                          .height = grid.height,
                          .steps = grid.steps,
                          .batch = grid.batch,
                          .seed = 1}));
}

std::string DescribePhases(const Plan& plan) {
  std::string text;
  for (const PhasePlan& phase : plan.phases) {
    text += fmt::format(
        "    {:<8}  arena {}  live {}  resident {}  ring {}  carried {}  streamed {}  parts {}  "
        "scratch {}  seconds {:.2f}\n",
        phase.name, phase.arena_bytes, phase.max_live_bytes, phase.resident_bytes, phase.ring_bytes,
        phase.carried_bytes, phase.streamed_bytes, phase.num_parts, phase.scratch_bytes,
        phase.predicted_s.value_or(-1));
  }
  return text;
}

// One job at each of the budgets; which way a phase goes its parts and its scratch tell.
std::string Describe(const GridJob& grid, const fs::path& models_dir,
                     std::span<const int64_t> budgets, const Device& device) {
  const Job job = Resolve(grid, models_dir);
  const int64_t least = Must(FluxPipeline::Prepare(job, device)).FindLeast().ram_bytes;
  std::string text = fmt::format("{} {}x{}, steps {}, batch {}: least {}\n", grid.model, grid.width,
                                 grid.height, grid.steps, grid.batch, least);
  std::optional<FluxPipeline> last;  // of another budget: what it has compiled changes no plan
  for (const int64_t budget : budgets) {
    text += fmt::format("  in {}: ", FormatByteSize(budget));
    last = Must(FluxPipeline::Prepare(job, device, nullptr, std::exchange(last, std::nullopt)));
    FluxPipeline& pipeline = *last;
    const Status status = pipeline.FitTo(Budget{.ram_bytes = budget}, FixedRates());
    EXPECT_EQ(status.ok(), budget >= least) << text << status.message();
    if (!status.ok()) {
      EXPECT_EQ(status.code(), StatusCode::kOutOfBudget) << status.message();
      text += fmt::format("refused, {} short\n", least - budget);
      continue;
    }
    const Plan& plan = pipeline.plan();
    EXPECT_LE(plan.peak_ram_bytes(), budget) << text;
    text += fmt::format("peak {}, fixed {}\n", plan.peak_ram_bytes(), plan.fixed_bytes);
    text += DescribePhases(plan);
  }
  return text + "\n";
}

std::string DescribeDemo(const Device& device) {
  constexpr int64_t kBudgets[] = {16 * kMiB, 20 * kMiB, 24 * kMiB, 32 * kMiB,
                                  48 * kMiB, 64 * kMiB, 96 * kMiB, 512 * kMiB};
  std::string text;
  for (const char* model : {"ingot-demo", "ingot-demo-Q4_0"}) {
    for (const auto& [width, height] : {std::pair(128, 128), {256, 192}, {1024, 768}}) {
      for (const auto& [steps, batch] : {std::pair(4, 1), {20, 1}, {4, 4}}) {
        text += Describe({model, width, height, steps, batch}, kDemoModels, kBudgets, device);
      }
    }
  }
  return text;
}

std::string DescribeFull(const Device& device) {
  constexpr int64_t kBudgets[] = {240 * kMiB, 256 * kMiB, 400 * kMiB, 512 * kMiB, 832 * kMiB,
                                  1 * kGiB,   2 * kGiB,   4 * kGiB,   8 * kGiB,   16 * kGiB};
  const FullModels models;
  std::string text;
  for (const auto& [width, height] : {std::pair(512, 512), {1024, 1024}, {2048, 1536}}) {
    for (const auto& [model, steps, batch] :
         {std::tuple("schnell-Q4_0", 4, 1), {"schnell-Q4_0", 4, 4}, {"dev-Q8_0", 20, 1}}) {
      text += Describe({model, width, height, steps, batch}, models.path(), kBudgets, device);
    }
  }
  return text;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(PlansGolden, GridGivesTheCommittedPlans) {
  const std::unique_ptr<Device> device = OpenDevice("AVX2");
  const std::string found = DescribeDemo(*device) + DescribeFull(*device);
  if (std::getenv("INGOT_WRITE_PLANS") != nullptr) {
    std::ofstream(kGolden) << found;
    return;
  }
  std::ostringstream golden;
  golden << std::ifstream(kGolden).rdbuf();
  // Line by line, so that a failure shows the lines that differ.
  EXPECT_EQ(Lines(found), Lines(golden.str()))
      << "if the change is meant: INGOT_WRITE_PLANS=1 " << testing::internal::GetArgvs()[0];
}

std::optional<std::unique_ptr<Device>> OpenDeviceIfThere(const std::string& target) {
  Result<std::unique_ptr<Device>> device =
      OpenCpuDevice({.num_threads = 2, .kernels = CpuKernels::kFast, .target = target});
  if (!device.ok()) return std::nullopt;
  return *std::move(device);
}

TEST(PlansGolden, WhatAnEarlierJobHasCompiledChangesNoPlan) {
  const std::unique_ptr<Device> device = OpenDevice("AVX2");
  JobRequest request = {.prompt = "a red house",
                        .models = {.models_dir = kDemoModels, .model = "ingot-demo"},
                        .width = 128,
                        .height = 128,
                        .steps = 4,
                        .seed = 1};
  std::optional<FluxPipeline> last;
  const auto check = [&](const char* change, int64_t budget, std::optional<DeviceRates> rates) {
    const Job job = Must(ResolveJob(request));
    FluxPipeline fresh = Must(FluxPipeline::Prepare(job, *device));
    last = Must(FluxPipeline::Prepare(job, *device, nullptr, std::exchange(last, std::nullopt)));
    ASSERT_TRUE(fresh.FitTo(Budget{.ram_bytes = budget}, rates).ok()) << change;
    ASSERT_TRUE(last->FitTo(Budget{.ram_bytes = budget}, rates).ok()) << change;
    EXPECT_EQ(DescribePhases(last->plan()), DescribePhases(fresh.plan())) << change;
    EXPECT_EQ(last->plan().predicted_s(), fresh.plan().predicted_s()) << change;
    EXPECT_EQ(last->plan().fixed_bytes, fresh.plan().fixed_bytes) << change;
    EXPECT_EQ(last->plan().num_steps, fresh.plan().num_steps) << change;
    for (size_t i = 0; i < fresh.plan().phases.size(); ++i) {
      EXPECT_EQ(last->plan().phases[i].num_runs, fresh.plan().phases[i].num_runs) << change;
    }
  };
  check("first", 64 * kMiB, FixedRates());
  check("equal", 64 * kMiB, FixedRates());
  request.seed = 2;
  check("another seed", 64 * kMiB, FixedRates());
  request.prompt = "two blue houses beside a tree";
  check("another prompt", 64 * kMiB, FixedRates());
  check("no rates", 64 * kMiB, std::nullopt);
  check("less memory", 22 * kMiB, std::nullopt);
  check("more memory", 512 * kMiB, FixedRates());
  request.sampler = "DPM++ 2M SDE";
  check("a sampler with more buffers", 512 * kMiB, FixedRates());
  request.steps = 20;
  check("more steps", 24 * kMiB, FixedRates());
  request.cfg_scale = 4;
  check("two prompts", 64 * kMiB, FixedRates());
  request.width = 256;
  check("another size", 64 * kMiB, FixedRates());
  request.batch = 3;
  check("a batch", 64 * kMiB, FixedRates());
  request.models.model = "ingot-demo-Q4_0";
  check("another model", 64 * kMiB, FixedRates());
}

TEST(PlansGolden, RatesChangeNoByte) {
  const std::unique_ptr<Device> device = OpenDevice("AVX2");
  const Job job = Resolve({"ingot-demo", 256, 192, 4, 1}, kDemoModels);
  DeviceRates slow_reads = FixedRates();
  slow_reads.reads.bytes_per_s = 1e5;
  std::vector<Plan> plans;
  for (const auto& rates : {std::optional<DeviceRates>(), {FixedRates()}, {slow_reads}}) {
    FluxPipeline pipeline = Must(FluxPipeline::Prepare(job, *device));
    ASSERT_TRUE(pipeline.FitTo(Budget{.ram_bytes = 28 * kMiB}, rates).ok());
    plans.push_back(pipeline.plan());
  }
  EXPECT_FALSE(plans[0].predicted_s().has_value());
  EXPECT_LT(plans[1].predicted_s(), plans[2].predicted_s()) << "slower reads take longer";
  for (const Plan& plan : plans) {
    for (size_t i = 0; i < plan.phases.size(); ++i) {
      EXPECT_EQ(plan.phases[i].arena_bytes, plans[0].phases[i].arena_bytes);
      EXPECT_EQ(plan.phases[i].resident_bytes, plans[0].phases[i].resident_bytes);
      EXPECT_EQ(plan.phases[i].ring_bytes, plans[0].phases[i].ring_bytes);
    }
  }
}

TEST(PlansGolden, LengthOfVectorsChangesNoPlan) {
  const auto device = OpenDeviceIfThere("AVX3");
  if (!device) GTEST_SKIP() << "no AVX-512 here";
  const std::string found = DescribeDemo(**device);
  EXPECT_EQ(Lines(found), Lines(DescribeDemo(*OpenDevice("AVX2"))));
}

// Without products of bytes the panels of the int8 Linear hold 16-bit integers: plans of the levels
// that have them are others, and not larger.
TEST(PlansGolden, ProductsOfBytesNeedNoMoreThanTheCommittedPlans) {
  bool any = false;
  for (const auto& [width, height] : {std::pair(64, 64), {256, 192}, {1024, 768}}) {
    const GridJob grid = {"ingot-demo", width, height, 4, 1};
    const auto least_bytes = [&](const Device& device) {
      return Must(FluxPipeline::Prepare(Resolve(grid, kDemoModels), device)).FindLeast().ram_bytes;
    };
    for (const char* level : {"AVX_VNNI", "AVX3_DL", "AMX"}) {
      const auto device = OpenDeviceIfThere(level);  // the level is the process's: one at a time
      if (!device) continue;
      any = true;
      const int64_t with_bytes = least_bytes(**device);
      EXPECT_LE(with_bytes, least_bytes(*OpenDevice("AVX2")))
          << level << ", " << width << "x" << height;
    }
  }
  if (!any) GTEST_SKIP() << "no VNNI here";
}

}  // namespace
}  // namespace ingot
