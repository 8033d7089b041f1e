#include "formats/tensor_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

namespace ingot {
namespace {

namespace fs = std::filesystem;

// Written by PyPI gguf and safetensors: tests/golden/formats/make_files.py.
TensorFile OpenGolden(const char* name) {
  auto file = OpenTensorFile(fs::path(INGOT_SOURCE_DIR) / "tests/golden/formats" / name);
  EXPECT_TRUE(file.ok()) << file.status().message();
  return *std::move(file);
}

std::vector<std::byte> Bytes(const TensorFile& file, const char* name) {
  const TensorEntry* entry = file.Find(name);
  if (entry == nullptr) return {};
  std::vector<std::byte> bytes(static_cast<size_t>(entry->num_bytes));
  EXPECT_TRUE(file.ReadTensor(*entry, bytes).ok());
  return bytes;
}

template <typename T>
std::vector<T> Values(const TensorFile& file, const char* name) {
  const std::vector<std::byte> bytes = Bytes(file, name);
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

const std::vector<float> kRamp = {0, 0.125f, 0.25f, 0.375f, 0.5f, 0.625f};

TEST(OpenTensorFile, ReadsTheTensorsOfAGgufWrittenByTheReference) {
  const TensorFile file = OpenGolden("small.gguf");
  EXPECT_EQ(file.kind(), "GGUF v3");
  EXPECT_EQ(file.entries().size(), 7u);
  EXPECT_EQ(file.Find("a.f32")->shape, Shape({2, 3}));
  EXPECT_EQ(Values<float>(file, "a.f32"), kRamp);
  EXPECT_EQ(Values<int32_t>(file, "a.i32"), (std::vector<int32_t>{4, -4}));
  EXPECT_EQ(file.Find("a.q4_0")->dtype, DType::kQ4_0);
  EXPECT_EQ(file.Find("a.q4_0")->num_bytes, 2 * 2 * 18);
  for (const TensorEntry& entry : file.entries()) EXPECT_EQ(entry.offset % 64, 0u) << entry.name;
  EXPECT_EQ(file.Find("none"), nullptr);
}

TEST(OpenTensorFile, RestoresTheShapeThatComfyKeepsInTheMetadata) {
  const TensorFile file = OpenGolden("small.gguf");
  EXPECT_EQ(file.Find("conv.weight")->shape, Shape({8, 4, 2, 1}));
  EXPECT_EQ(file.Find("conv.weight")->num_bytes, 2 * 34);
}

TEST(OpenTensorFile, GivesGgufMetadataWithItsTypes) {
  const Metadata metadata = OpenGolden("small.gguf").metadata();
  EXPECT_EQ(*metadata.FindString("general.architecture"), "flux");
  EXPECT_EQ(metadata.FindInt("test.u32"), 7);
  EXPECT_EQ(metadata.FindInt("test.i64"), -5);
  EXPECT_EQ(metadata.FindFloat("test.f32"), 0.5);
  EXPECT_EQ(metadata.FindBool("test.bool"), true);
  EXPECT_EQ(*metadata.FindString("test.string"), "dieses Erz: Eisen – Fe");
  EXPECT_EQ(*metadata.FindStrings("test.strings"), (std::vector<std::string>{"<pad>", "▁the", ""}));
  EXPECT_EQ(metadata.FindInts("test.ints"), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_EQ(metadata.FindFloats("test.floats"), (std::vector<double>{0.25, -1.5}));
  EXPECT_EQ(metadata.FindInt("test.f32"), std::nullopt);
  EXPECT_EQ(metadata.FindString("test.u32"), nullptr);
}

TEST(OpenTensorFile, ReadsTheTensorsOfASafetensorsWrittenByTheReference) {
  const TensorFile file = OpenGolden("small.safetensors");
  EXPECT_EQ(file.kind(), "safetensors");
  EXPECT_EQ(Values<float>(file, "a.f32"), kRamp);
  EXPECT_EQ(Values<int64_t>(file, "a.i64"), std::vector<int64_t>{-3});
  EXPECT_EQ(file.Find("a.i64")->shape.rank(), 0);
  EXPECT_EQ(file.Find("a.empty")->shape, Shape({0, 5}));
  EXPECT_EQ(file.Find("a.bf16")->dtype, DType::kBF16);
  EXPECT_EQ(file.Find("a.f8_e5m2")->dtype, DType::kF8E5M2);
  EXPECT_EQ(*file.metadata().FindString("author"), "Ingot");
}

TEST(OpenTensorFile, FoldsTheScalesOfScaledFp8IntoTheirWeights) {
  const TensorFile file = OpenGolden("small.safetensors");
  EXPECT_EQ(file.Find("old.weight")->scale, 0.5f);
  EXPECT_EQ(file.Find("new.weight")->scale, 0.25f);
  EXPECT_EQ(file.Find("a.f32")->scale, 1.0f);
  for (const char* hidden : {"scaled_fp8", "old.scale_weight", "old.scale_input",
                             "new.weight_scale", "new.comfy_quant"}) {
    EXPECT_EQ(file.Find(hidden), nullptr) << hidden;
  }
}

}  // namespace
}  // namespace ingot
