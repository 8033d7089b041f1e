#include "formats/tensor_writer.h"

#include <gtest/gtest.h>

#include "formats/tensor_file.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

class TensorWriterTest : public testing::Test {
 protected:
  void SetUp() override { fs::create_directories(dir_); }
  void TearDown() override { fs::remove_all(dir_); }

  // Fills tensor i with bytes that depend on i.
  static std::vector<std::byte> Content(const TensorSpec& tensor, size_t i) {
    std::vector<std::byte> bytes(static_cast<size_t>(NumBytes(tensor.dtype, tensor.shape)));
    for (size_t j = 0; j < bytes.size(); ++j) bytes[j] = static_cast<std::byte>(i * 50 + j);
    return bytes;
  }

  static void WriteAll(TensorWriter* writer, const std::vector<TensorSpec>& tensors) {
    for (size_t i = 0; i < tensors.size(); ++i) {
      ASSERT_TRUE(writer->Append(Content(tensors[i], i)).ok());
    }
    ASSERT_TRUE(writer->Commit().ok());
  }

  void ExpectHolds(const Metadata& metadata, const std::vector<TensorSpec>& tensors) const {
    const auto file = OpenTensorFile(path_);
    ASSERT_TRUE(file.ok()) << file.status().message();
    EXPECT_EQ(file->metadata().items(), metadata.items());
    ASSERT_EQ(file->entries().size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      const TensorEntry& entry = file->entries()[i];
      EXPECT_EQ(entry.name, tensors[i].name);
      EXPECT_EQ(entry.dtype, tensors[i].dtype);
      EXPECT_EQ(entry.shape, tensors[i].shape);
      std::vector<std::byte> bytes(static_cast<size_t>(entry.num_bytes));
      ASSERT_TRUE(file->ReadTensor(entry, bytes).ok());
      EXPECT_EQ(bytes, Content(tensors[i], i));
    }
  }

  const fs::path dir_ = fs::path(testing::TempDir()) / "ingot_tensor_writer_test";
  const fs::path path_ = dir_ / "out";
};

TEST_F(TensorWriterTest, GgufComesBackWithEveryTypeOfMetadata) {
  Metadata metadata;
  metadata.Set("general.alignment", uint32_t{128});
  metadata.Set("u8", uint8_t{200});
  metadata.Set("i8", int8_t{-2});
  metadata.Set("u16", uint16_t{60000});
  metadata.Set("i16", int16_t{-3});
  metadata.Set("i32", int32_t{-4});
  metadata.Set("f32", 1.5f);
  metadata.Set("bool", true);
  metadata.Set("string", std::string("Erz"));
  metadata.Set("u64", ~uint64_t{0});
  metadata.Set("i64", int64_t{-5});
  metadata.Set("f64", 2.5);
  metadata.Set("strings", MetaArray(std::vector<std::string>{"a", "", "c"}));
  metadata.Set("bools", MetaArray(std::vector<bool>{true, false}));
  metadata.Set("doubles", MetaArray(std::vector<double>{0.5}));
  const std::vector<TensorSpec> tensors = {{"a", DType::kF16, {3, 5}},
                                           {"b", DType::kQ4_K, {2, 256}},
                                           {"empty", DType::kF32, {0, 4}},
                                           {"scalar", DType::kI32, {}},
                                           {"c", DType::kQ8_0, {1, 2, 3, 32}}};
  auto writer = TensorWriter::CreateGguf(path_, metadata, tensors);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  WriteAll(writer->get(), tensors);
  ExpectHolds(metadata, tensors);
}

TEST_F(TensorWriterTest, SafetensorsComesBack) {
  Metadata metadata;
  metadata.Set("format", std::string("pt"));
  const std::vector<TensorSpec> tensors = {{"a\n\"ü", DType::kF8E4M3, {3, 5}},
                                           {"b", DType::kBF16, {2, 1, 2, 1, 2, 1}},
                                           {"scalar", DType::kI64, {}}};
  auto writer = TensorWriter::CreateSafetensors(path_, metadata, tensors);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  WriteAll(writer->get(), tensors);
  ExpectHolds(metadata, tensors);
}

TEST_F(TensorWriterTest, RefusesWhatAFormatCannotHold) {
  const auto code = [&](auto create, TensorSpec tensor) {
    return create(path_, Metadata(), std::vector<TensorSpec>{tensor}).status().code();
  };
  const auto invalid = StatusCode::kInvalidArgument;
  EXPECT_EQ(code(TensorWriter::CreateGguf, {"a", DType::kF8E4M3, {4}}), invalid);
  EXPECT_EQ(code(TensorWriter::CreateGguf, {"a", DType::kF32, {1, 1, 1, 1, 1}}), invalid);
  EXPECT_EQ(code(TensorWriter::CreateGguf, {"a", DType::kQ4_0, {33}}), invalid);
  EXPECT_EQ(code(TensorWriter::CreateSafetensors, {"a", DType::kQ4_0, {32}}), invalid);
  EXPECT_EQ(code(TensorWriter::CreateSafetensors, {"a\xFF", DType::kF32, {32}}), invalid);
  const std::vector<TensorSpec> twice = {{"a", DType::kF32, {1}}, {"a", DType::kF32, {1}}};
  EXPECT_EQ(TensorWriter::CreateGguf(path_, {}, twice).status().code(), invalid);
  EXPECT_TRUE(fs::is_empty(dir_));
}

}  // namespace
}  // namespace ingot
