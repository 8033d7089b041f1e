// The whole pipeline on the demo model against diffusers and transformers: text, latents, picture.
#include "pipeline/flux_pipeline.h"

#include <gtest/gtest.h>

#include <cmath>

#include "devices/cpu/cpu_device.h"
#include "formats/tensor_file.h"

namespace ingot {

// The phases of FluxPipeline::Run, with what lies between them.
class FluxPipelinePeer {
 public:
  struct Results {
    std::vector<FluxPipeline::Conditioning> conds;
    std::vector<std::vector<float>> latents;
    std::vector<Picture> pictures;
  };

  static Result<Results> Run(FluxPipeline& pipeline, Device& device) {
    Results out;
    PhaseMeasure measure;
    out.conds.resize(pipeline.prompts_.size());
    const RunContext context = {.device = device};
    INGOT_RETURN_IF_ERROR(pipeline.EncodeClip(context, out.conds, measure));
    INGOT_RETURN_IF_ERROR(pipeline.EncodeT5(context, out.conds, measure));
    INGOT_RETURN_IF_ERROR(pipeline.HoistAll(context, out.conds, measure));
    INGOT_RETURN_IF_ERROR(pipeline.SamplePictures(context, out.conds, out.latents, measure));
    INGOT_RETURN_IF_ERROR(pipeline.DecodePictures(context, out.latents, out.pictures, measure));
    return out;
  }
};

namespace {

// Both sides compute in f32 on the same weights and differ in the order of
// their sums: text by up to 1e-6, latents by 1.8e-6.
constexpr double kTolerance = 1e-5;

// Such latents move a value across a rounding border in up to 3 of 49152 places.
constexpr size_t kMaxDifferentPixelValues = 20;

template <typename T>
T Must(Result<T> result) {
  EXPECT_TRUE(result.ok()) << result.status().message();
  INGOT_CHECK(result.ok());
  return *std::move(result);
}

template <typename T>
std::vector<T> Golden(const std::string& name) {
  static const TensorFile file =
      Must(OpenTensorFile(INGOT_SOURCE_DIR "/tests/golden/pipeline/pipeline.safetensors"));
  const TensorEntry* entry = file.Find(name);
  INGOT_CHECK(entry != nullptr && entry->num_bytes % static_cast<int64_t>(sizeof(T)) == 0);
  std::vector<T> values(static_cast<size_t>(entry->num_bytes) / sizeof(T));
  INGOT_CHECK(file.ReadTensor(*entry, std::as_writable_bytes(std::span(values))).ok());
  return values;
}

// max |found - golden| / max |golden| is small; the error also goes to the XML report.
void ExpectMatchesGolden(const std::vector<float>& found, const std::string& name) {
  const std::vector<float> golden = Golden<float>(name);
  ASSERT_EQ(found.size(), golden.size()) << name;
  double difference = 0, largest = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    ASSERT_TRUE(std::isfinite(found[i])) << name;
    difference = std::max(difference, std::abs(double{found[i]} - double{golden[i]}));
    largest = std::max(largest, std::abs(double{golden[i]}));
  }
  testing::Test::RecordProperty(name, fmt::format("{:.2e}", difference / largest));
  EXPECT_LE(difference / largest, kTolerance) << name;
}

void ExpectSamePicture(const std::vector<uint8_t>& found, const std::string& name) {
  const std::vector<uint8_t> golden = Golden<uint8_t>(name);
  ASSERT_EQ(found.size(), golden.size()) << name;
  int greatest = 0;
  size_t num_different = 0;
  for (size_t i = 0; i < found.size(); ++i) {
    greatest = std::max(greatest, std::abs(int{found[i]} - int{golden[i]}));
    num_different += found[i] != golden[i];
  }
  testing::Test::RecordProperty(name, fmt::format("{} of {}", num_different, found.size()));
  EXPECT_LE(greatest, 1) << name;
  EXPECT_LE(num_different, kMaxDifferentPixelValues) << name;
}

class PipelineGolden : public testing::TestWithParam<CpuKernels> {
 protected:
  void ExpectMatchesReference(const std::string& name, JobRequest request) {
    request.models.models_dir = INGOT_SOURCE_DIR "/demo/models";
    request.models.model = "ingot-demo";
    request.precision = "exact";
    const std::unique_ptr<Device> device =
        Must(OpenCpuDevice({.num_threads = 2, .kernels = GetParam(), .target = {}}));
    FluxPipeline pipeline = Must(FluxPipeline::Prepare(Must(ResolveJob(request)), *device));
    ASSERT_TRUE(pipeline.FitTo(int64_t{1} << 40).ok());
    const FluxPipelinePeer::Results found = Must(FluxPipelinePeer::Run(pipeline, *device));
    for (size_t i = 0; i < found.conds.size(); ++i) {
      ExpectMatchesGolden(found.conds[i].txt, fmt::format("{}.txt.{}", name, i));
      ExpectMatchesGolden(found.conds[i].pooled, fmt::format("{}.pooled.{}", name, i));
    }
    ExpectMatchesGolden(found.latents.at(0), name + ".latents");
    ExpectSamePicture(found.pictures.at(0).pixels, name + ".rgb");
  }
};

TEST_P(PipelineGolden, EightStepsOfEuler) {
  ExpectMatchesReference(
      "square", {.prompt = "a red house on the left and a green tree on the right, orange sky, "
                           "white ground",
                 .width = 128,
                 .height = 128,
                 .steps = 8,
                 .seed = 1});
}

TEST_P(PipelineGolden, NegativePromptOfMoreTokensThanTheModelPadsTo) {
  ExpectMatchesReference(
      "cfg", {.prompt = "a yellow star on the right, black sky, gray ground",
              .negative_prompt = "a purple boat on the left and a blue ball in the middle and a "
                                 "white moon on the right-hand side, an orange sky above them, a "
                                 "yellow ground below them, blurred, smudged",
              .width = 96,
              .height = 160,
              .steps = 4,
              .seed = 7,
              .cfg_scale = 2.0});
}

INSTANTIATE_TEST_SUITE_P(Kernels, PipelineGolden,
                         testing::Values(CpuKernels::kReference, CpuKernels::kFast),
                         [](const auto& test) {
                           return test.param == CpuKernels::kFast ? "Fast" : "Reference";
                         });

}  // namespace
}  // namespace ingot
