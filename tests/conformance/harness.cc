#include "harness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <span>

#include "devices/cpu/cpu_device.h"
#include "devices/device.h"
#include "tensor/codec.h"

namespace ingot::conformance {
namespace {

constexpr int64_t kGuardBytes = 4096;
constexpr std::byte kPoison{0xFF};  // four of them are a NaN

// Where a block keeps its f16 factors (ggml-common.h, the block_* structs); -1 for none.
struct BlockFactors {
  DType dtype;
  int offsets[2];
};
constexpr BlockFactors kBlockFactors[] = {{DType::kQ2_K, {80, 82}},  {DType::kQ3_K, {108, -1}},
                                          {DType::kQ4_K, {0, 2}},    {DType::kQ5_K, {0, 2}},
                                          {DType::kQ6_K, {208, -1}}, {DType::kIQ4_NL, {0, -1}},
                                          {DType::kIQ4_XS, {0, -1}}};

std::vector<float> RandomFloats(int64_t count, std::mt19937& random) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
  return values;
}

void FillRandomBlocks(Operand& operand, std::mt19937& random) {
  for (std::byte& byte : operand.bytes) byte = static_cast<std::byte>(random());
  if (!IsBlockFormat(operand.dtype)) {  // fp8: below 2, so never infinity or NaN
    for (std::byte& byte : operand.bytes) byte &= std::byte{0xBF};
  }
  const size_t block_bytes = static_cast<size_t>(Info(operand.dtype).block_bytes);
  for (const BlockFactors& factors : kBlockFactors) {
    if (factors.dtype != operand.dtype) continue;
    for (size_t block = 0; block < operand.bytes.size(); block += block_bytes) {
      for (int offset : factors.offsets) {
        // 2^-10 .. 2^-9, little endian: exponent bits of 0x14, any mantissa
        if (offset >= 0) operand.bytes[block + static_cast<size_t>(offset) + 1] = std::byte{0x14};
      }
    }
  }
}

std::unique_ptr<Device> OpenDevice(const CpuOptions& options) {
  auto device = OpenCpuDevice(options);
  return device.ok() ? std::move(*device) : nullptr;
}

bool IsPoisoned(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == kPoison; });
}

std::vector<float> Run(Device& device, const Case& test) {
  std::vector<Shape> shapes;
  std::vector<DType> dtypes;
  std::vector<ConstTensorView> inputs;
  for (const Operand& input : test.inputs) {
    shapes.push_back(input.shape);
    dtypes.push_back(input.dtype);
    inputs.push_back({input.dtype, input.shape, input.bytes.data(), input.scale});
  }
  const OpSignature signature{&test.op, shapes, dtypes, op::InferShape(test.op, shapes),
                              DType::kF32};
  EXPECT_TRUE(device.Supports(signature).ok()) << device.Supports(signature).message();

  const auto round_up = [](int64_t n) {
    return (n + kTensorAlignment - 1) / kTensorAlignment * kTensorAlignment;
  };
  const int64_t output_bytes = NumBytes(DType::kF32, signature.output_shape);
  const int64_t workspace_bytes = device.WorkspaceBytes(signature);
  const int64_t workspace_begin = round_up(output_bytes + kGuardBytes);
  auto arena = device.Allocate(workspace_begin + workspace_bytes + kGuardBytes);
  EXPECT_TRUE(arena.ok());
  const std::span<std::byte> bytes = (*arena)->bytes();
  std::fill(bytes.begin(), bytes.end(), kPoison);
  const auto part = [&](int64_t begin, int64_t count) {
    return bytes.subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
  };

  const Status status = device.Run({&test.op,
                                    inputs,
                                    {DType::kF32, signature.output_shape, bytes.data()},
                                    part(workspace_begin, workspace_bytes)});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(IsPoisoned(part(output_bytes, workspace_begin - output_bytes)));
  EXPECT_TRUE(IsPoisoned(part(workspace_begin + workspace_bytes, kGuardBytes)));
  std::vector<float> output(static_cast<size_t>(signature.output_shape.num_elements()));
  std::memcpy(output.data(), bytes.data(), static_cast<size_t>(output_bytes));
  return output;
}

// Largest |a - b| over the largest |b|; infinite where one of them is NaN.
double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0.0, largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) || std::isnan(b[i])) return INFINITY;
    error = std::max(error, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return largest == 0.0 ? error : error / largest;
}

}  // namespace

Operand RandomOperand(DType dtype, const Shape& shape, uint32_t seed) {
  std::mt19937 random(seed);
  Operand operand;
  operand.dtype = dtype;
  operand.shape = shape;
  operand.bytes.resize(static_cast<size_t>(NumBytes(dtype, shape)));
  if (CanQuantize(dtype)) {
    const std::vector<float> values = RandomFloats(shape.num_elements(), random);
    QuantizeRow(dtype, values.data(), operand.bytes.data(), shape.num_elements());
  } else {
    FillRandomBlocks(operand, random);
  }
  return operand;
}

std::vector<float> RunFast(const Case& test) {
  const auto device = OpenDevice({});
  INGOT_CHECK(device != nullptr);
  return Run(*device, test);
}

void ExpectConforms(const Case& test) {
  SCOPED_TRACE(test.name);
  const auto reference = OpenDevice({.kernels = CpuKernels::kReference, .target = {}});
  ASSERT_NE(reference, nullptr);
  const std::vector<float> expected = Run(*reference, test);
  std::vector<float> first;
  for (const char* target : {"AVX2", "AVX3"}) {
    for (size_t num_threads : {1, 2, 5}) {
      const auto device = OpenDevice({.num_threads = num_threads, .target = target});
      if (device == nullptr) continue;  // this machine has no such level
      SCOPED_TRACE(target);
      const std::vector<float> found = Run(*device, test);
      EXPECT_LE(RelativeError(found, expected), test.tolerance) << num_threads << " threads";
      if (first.empty()) first = found;
      EXPECT_EQ(std::memcmp(found.data(), first.data(), found.size() * sizeof(float)), 0)
          << "other bits at " << num_threads << " threads";
    }
  }
}

}  // namespace ingot::conformance
