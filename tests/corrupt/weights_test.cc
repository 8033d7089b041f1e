// Every way we know to damage a weights file gives one line that names file,
// place, expectation and finding; none crashes, hangs or allocates by a count.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <random>

#include "fuzz_weights.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;
using std::string_literals::operator""s;

std::string Golden(const char* name) {
  const auto text = ReadSmallFile(fs::path(INGOT_SOURCE_DIR) / "tests/golden/formats" / name);
  EXPECT_TRUE(text.ok()) << text.status().message();
  return text.ok() ? *text : "";
}

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

// The error of opening these bytes as a file, checked to be one line that
// begins with the file.
Status ErrorOf(const std::string& content) {
  const MemoryFile file(Bytes(content));
  const auto opened = OpenTensorFile(file.path());
  const Status status = opened.status();
  if (status.ok()) return status;
  EXPECT_TRUE(status.message().starts_with(file.path() + ": ")) << status.message();
  EXPECT_EQ(status.message().find('\n'), std::string::npos) << status.message();
  EXPECT_LT(status.message().size(), 600u) << status.message();
  return status;
}

struct Case {
  std::string name;
  std::string content;
  StatusCode code;
  std::string names;  // what the message must contain
};

void ExpectErrors(const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    const Status status = ErrorOf(c.content);
    EXPECT_EQ(status.code(), c.code) << c.name << ": " << status.message();
    EXPECT_NE(status.message().find(c.names), std::string::npos)
        << c.name << ": expected '" << c.names << "' in: " << status.message();
  }
}

constexpr StatusCode kBad = StatusCode::kCorruption;
constexpr StatusCode kOther = StatusCode::kUnsupported;

// Little-endian bytes of GGUF.
template <typename T>
std::string Le(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}
std::string U32(uint32_t value) { return Le(value); }
std::string U64(uint64_t value) { return Le(value); }
std::string Str(const std::string& text) { return U64(text.size()) + text; }

std::string Preamble(uint64_t num_tensors, uint64_t num_items, uint32_t version = 3) {
  return "GGUF" + U32(version) + U64(num_tensors) + U64(num_items);
}
std::string Tensor(const std::string& name, const std::vector<uint64_t>& dims, uint32_t type,
                   uint64_t offset) {
  std::string bytes = Str(name) + U32(static_cast<uint32_t>(dims.size()));
  for (const uint64_t dim : dims) bytes += U64(dim);
  return bytes + U32(type) + U64(offset);
}
// A file of these tensors, with `data_bytes` behind the padded table.
std::string Gguf(const std::vector<std::string>& tensors, size_t data_bytes,
                 const std::vector<std::string>& items = {}) {
  std::string bytes = Preamble(tensors.size(), items.size());
  for (const std::string& item : items) bytes += item;
  for (const std::string& tensor : tensors) bytes += tensor;
  bytes.resize((bytes.size() + 31) / 32 * 32 + data_bytes);
  return bytes;
}

std::string Safetensors(const std::string& json, size_t data_bytes = 64) {
  return U64(json.size()) + json + std::string(data_bytes, '\0');
}
std::string F32Entry(const std::string& name, const std::string& fields) {
  return "\"" + name + "\":{\"dtype\":\"F32\"," + fields + "}";
}

TEST(CorruptWeights, OtherFilesAreNamedAsWhatTheyAre) {
  ExpectErrors({
      {"empty", "", kOther, "found an empty file"},
      {"zip", "PK\x03\x04 archive/data.pkl", kOther, "PyTorch pickle"},
      {"zip", "PK\x03\x04 archive/data.pkl", kOther, "OUT.safetensors"},
      {"pickle", "\x80\x02}q\x00.", kOther, "PyTorch pickle"},
      {"lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", kOther,
       "a Git LFS pointer, not the file itself"},
      {"html", "<!DOCTYPE html>\n<html>", kOther, "HTML"},
      {"text", "hello\nworld\n", kOther, "a text file that begins with \"hello\""},
      {"json", "{\"a\": 1, {{{{", kOther, "a text file"},
      {"png", "\x89PNG\r\n\x1a\n", kOther, "a PNG picture"},
      {"noise", "\x01\x02\x03\xFF", kOther, "a file that begins with"},
  });
  const auto directory = OpenTensorFile(fs::path(INGOT_SOURCE_DIR));
  EXPECT_NE(directory.status().message().find("found a directory"), std::string::npos);
  EXPECT_EQ(OpenTensorFile("none.gguf").status().code(), StatusCode::kNotFound);
}

TEST(CorruptWeights, GgufPreambleIsChecked) {
  ExpectErrors({
      {"magic only", "GGUF", kBad, "version"},
      {"v1", Preamble(0, 0, 1), kOther, "found v1"},
      {"v9", Preamble(0, 0, 9), kOther, "found v9"},
      {"big-endian", Preamble(0, 0, 0x03000000), kOther, "big-endian"},
      {"tensor count", Preamble(~uint64_t{0}, 0), kBad, "tensor table"},
      {"key count", Preamble(0, uint64_t{1} << 60), kBad, "metadata"},
  });
}

TEST(CorruptWeights, GgufMetadataIsChecked) {
  const std::string key = Str("key");
  const auto with = [](const std::string& item) { return Gguf({}, 64, {item}); };
  ExpectErrors({
      {"key length", with(U64(1 << 30) + "key"), kBad, "metadata key 1 of 1"},
      {"key not UTF-8", with(Str("k\xFFy") + U32(4) + U32(0)), kBad, "expected UTF-8"},
      {"key twice", Gguf({}, 64, {key + U32(4) + U32(1), key + U32(4) + U32(1)}), kBad, "twice"},
      {"value type", with(key + U32(77)), kBad, "value type below 13, found 77"},
      {"bool", with(key + U32(7) + "\x05"), kBad, "0 or 1, found 5"},
      {"string length", with(key + U32(8) + U64(~uint64_t{0})), kBad, "\"key\""},
      {"array count", with(key + U32(9) + U32(4) + U64(uint64_t{1} << 62)), kBad, "\"key\""},
      {"string array", with(key + U32(9) + U32(8) + U64(1000)), kBad, "\"key\""},
      {"nested array", with(key + U32(9) + U32(9) + U64(1)), kOther, "array of arrays"},
      {"alignment 0", with(Str("general.alignment") + U32(4) + U32(0)), kBad, "power of two"},
      {"alignment 48", with(Str("general.alignment") + U32(4) + U32(48)), kBad, "found 48"},
      {"alignment string", with(Str("general.alignment") + U32(8) + Str("32")), kBad,
       "power of two"},
      {"alignment 2^31", with(Str("general.alignment") + U32(4) + U32(1u << 31)), kBad,
       "power of two"},
  });
}

TEST(CorruptWeights, GgufTensorsAreChecked) {
  const std::string a = Tensor("a", {8}, 0, 0);
  const uint64_t huge = uint64_t{1} << 62;
  const std::string shape_key = Str("comfy.gguf.orig_shape.a") + U32(9) + U32(5);
  ExpectErrors({
      {"name length", Gguf({U64(1 << 30) + "a"}, 99), kBad, "name of tensor 1 of 1"},
      {"name not UTF-8", Gguf({Tensor("\xC0\x80", {8}, 0, 0)}, 64), kBad, "expected UTF-8"},
      {"name with a line break", Gguf({Tensor("a\nb", {8}, 16, 0)}, 64), kOther, "\"a\\nb\""},
      {"name twice", Gguf({a, Tensor("a", {8}, 0, 32)}, 64), kBad, "found it twice"},
      {"dimensions", Gguf({Tensor("a", {1, 1, 1, 1, 1}, 0, 0)}, 64), kBad, "at most 4 dimensions"},
      {"product", Gguf({Tensor("a", {huge, 8}, 0, 0)}, 64), kBad, "less than 2^63"},
      {"bytes", Gguf({Tensor("a", {huge}, 0, 0)}, 64), kBad, "less than 2^63"},
      {"negative", Gguf({Tensor("a", {~uint64_t{0}}, 0, 0)}, 64), kBad, "found [-1]"},
      {"block", Gguf({Tensor("a", {33}, 2, 0)}, 64), kBad, "multiple of 32 elements for Q4_0"},
      {"removed type", Gguf({Tensor("a", {8}, 4, 0)}, 64), kBad, "found number 4"},
      {"unknown type", Gguf({Tensor("a", {8}, 999, 0)}, 64), kBad, "found number 999"},
      {"IQ2_XXS", Gguf({Tensor("a", {256}, 16, 0)}, 64), kOther,
       "IQ2_XXS is not a type Ingot reads"},
      {"unaligned", Gguf({Tensor("a", {8}, 0, 4)}, 64), kBad, "a multiple of 32, found 4"},
      {"offset", Gguf({Tensor("a", {8}, 0, huge)}, 64), kBad, "inside"},
      {"overlap", Gguf({Tensor("a", {16}, 0, 0), Tensor("b", {8}, 0, 32)}, 64), kBad,
       "where \"a\" ends"},
      {"data cut", Gguf({a}, 31), kBad, "tensor \"a\": expected 32 bytes"},
      {"orig_shape count", Gguf({a}, 64, {shape_key + U64(1) + U32(9)}), kBad, "orig_shape"},
      {"orig_shape rank", Gguf({a}, 64, {shape_key + U64(0)}), kBad, "orig_shape, found 0"},
  });
}

TEST(CorruptWeights, SafetensorsHeaderIsChecked) {
  const std::string deep(1 << 20, '[');
  ExpectErrors({
      {"length beyond file", U64(1000) + "{}", kBad, "header: expected 1000 x 1 bytes"},
      {"length 2^64", U64(~uint64_t{0}) + "{}", kBad, "header"},
      {"length 0", U64(0) + "{}", kBad, "header"},
      {"not JSON", Safetensors("{\"a\": oops}"), kBad, "expected JSON"},
      {"cut JSON", Safetensors("{\"a\":"), kBad, "expected JSON"},
      {"trailing", Safetensors("{} {}"), kBad, "expected JSON"},
      {"not UTF-8", Safetensors("{\"\xFF\":{}}"), kBad, "expected JSON in UTF-8"},
      {"deep", Safetensors("{\"a\":" + deep), kBad, "\"a\": expected an object"},
      {"deep objects", Safetensors("{\"a\":{\"shape\":{\"b\":{}}}}"), kBad, "\"a\""},
      {"metadata number", Safetensors("{\"__metadata__\":{\"a\":1}}"), kBad, "expected strings"},
      {"metadata twice", Safetensors("{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}"), kBad, "twice"},
  });
}

TEST(CorruptWeights, SafetensorsTensorsAreChecked) {
  const auto one = [](const std::string& fields) {
    return Safetensors("{" + F32Entry("a", fields) + "}");
  };
  const std::string good = "\"shape\":[2],\"data_offsets\":[0,8]";
  ExpectErrors({
      {"name twice", Safetensors("{" + F32Entry("a", good) + "," + F32Entry("a", good) + "}"), kBad,
       "found it twice"},
      {"no shape", one("\"data_offsets\":[0,8]"), kBad, "found no shape"},
      {"no offsets", one("\"shape\":[2]"), kBad, "found no data_offsets"},
      {"field twice", one(good + ",\"shape\":[2]"), kBad, "\"shape\""},
      {"field", one(good + ",\"colour\":1"), kBad, "\"colour\""},
      {"negative dim", one("\"shape\":[-2],\"data_offsets\":[0,8]"), kBad, "found -2"},
      {"fraction", one("\"shape\":[2.5],\"data_offsets\":[0,8]"), kBad, "found 2.5"},
      {"rank", one("\"shape\":[1,1,1,1,1,1,2],\"data_offsets\":[0,8]"), kBad, "up to 6"},
      {"product", one("\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]"), kBad, "2^63"},
      {"size", one("\"shape\":[3],\"data_offsets\":[0,8]"), kBad, "12 bytes apart for F32 [3]"},
      {"begin > end", one("\"shape\":[2],\"data_offsets\":[8,0]"), kBad, "found [8, 0]"},
      {"one offset", one("\"shape\":[2],\"data_offsets\":[8]"), kBad, "found 1 of them"},
      {"outside", one("\"shape\":[2],\"data_offsets\":[64,72]"), kBad, "found a file of"},
      {"offset 2^64",
       one("\"shape\":[0],\"data_offsets\":[18446744073709551615,18446744073709551615]"), kBad,
       "inside the file"},
      {"overlap",
       Safetensors("{" + F32Entry("a", good) + "," +
                   F32Entry("b", "\"shape\":[2],\"data_offsets\":[4,12]") + "}"),
       kBad, "where \"a\" ends"},
      {"dtype F64", Safetensors("{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}"),
       kOther, "tensor \"a\": expected F32"},
      {"dtype Q4_0",
       Safetensors("{\"a\":{\"dtype\":\"Q4_0\",\"shape\":[32],\"data_offsets\":[0,18]}}"), kOther,
       "found \"Q4_0\""},
      {"nf4",
       Safetensors("{\"a.weight.quant_state.bitsandbytes__nf4\":{\"dtype\":\"U8\",\"shape\":[1],"
                   "\"data_offsets\":[0,1]}}"),
       kOther, "bitsandbytes NF4 is not a type Ingot reads; use"},
  });
}

TEST(CorruptWeights, ScalesOfF8AreChecked) {
  const auto scaled = [](const std::string& dtype, const std::string& scale) {
    return Safetensors("{\"a.weight\":{\"dtype\":\"" + dtype +
                       "\",\"shape\":[4],\"data_offsets\":[32,36]},\"a.scale_weight\":" + scale +
                       "}");
  };
  const std::string one = "{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}";
  ExpectErrors({
      {"zero", scaled("F8_E4M3", one), kBad, "finite positive factor, found 0"},
      {"per row", scaled("F8_E4M3", "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"),
       kOther, "per-row"},
      {"of U8", scaled("U8", one), kOther, "beside an F8 weight, found U8"},
  });
}

class DamagedGolden : public testing::TestWithParam<const char*> {};

TEST_P(DamagedGolden, EveryTruncationIsAnError) {
  const std::string whole = Golden(GetParam());
  for (size_t size = 0; size < whole.size(); ++size) {
    // The last tensor's padding may be missing: nothing reads it.
    if (ErrorOf(whole.substr(0, size)).ok()) {
      EXPECT_GT(size + 64, whole.size());
    }
  }
}

TEST_P(DamagedGolden, FlippedBytesNeverCrashAReader) {
  const std::string whole = Golden(GetParam());
  const bool is_gguf = whole.starts_with("GGUF");
  std::mt19937 random(7);  // NOLINT: the same files on every run
  for (int i = 0; i < 5000; ++i) {
    std::string damaged = whole;
    for (uint32_t flips = 1 + random() % 4; flips > 0; --flips) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    ReadWeights(is_gguf ? ReadGguf : ReadSafetensors, Bytes(damaged));
  }
}

INSTANTIATE_TEST_SUITE_P(Both, DamagedGolden, testing::Values("small.gguf", "small.safetensors"));

}  // namespace
}  // namespace ingot
