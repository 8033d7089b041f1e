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

constexpr size_t kGuardBytes = 4096;
// A signalling NaN, little endian: what is computed from it shows, and even adding zero to it
// changes its bits.
constexpr std::byte kPoison[4] = {std::byte{0}, std::byte{0}, std::byte{0xA0}, std::byte{0x7F}};

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

// Poisoned memory for the output and the workspace of one op, each with a guard behind it.
class PoisonedMemory {
 public:
  PoisonedMemory(Device& device, int64_t output_bytes, int64_t workspace_bytes)
      : output_end_(static_cast<size_t>(output_bytes)),
        workspace_begin_((output_end_ + kGuardBytes) / kTensorAlignment * kTensorAlignment),
        workspace_end_(workspace_begin_ + static_cast<size_t>(workspace_bytes)) {
    auto arena = device.Allocate(static_cast<int64_t>(workspace_end_ + kGuardBytes));
    INGOT_CHECK(arena.ok());
    arena_ = std::move(*arena);
    for (size_t i = 0; i < bytes().size(); ++i) bytes()[i] = kPoison[i % 4];
  }

  std::span<std::byte> output() { return bytes().first(output_end_); }
  std::span<std::byte> workspace() {
    return bytes().subspan(workspace_begin_, workspace_end_ - workspace_begin_);
  }
  bool GuardsAreIntact() const {
    const auto is_poisoned = [&](size_t begin, size_t end) {
      while (begin < end && bytes()[begin] == kPoison[begin % 4]) ++begin;
      return begin == end;
    };
    return is_poisoned(output_end_, workspace_begin_) &&
           is_poisoned(workspace_end_, bytes().size());
  }

 private:
  std::span<std::byte> bytes() const { return arena_->bytes(); }

  size_t output_end_, workspace_begin_, workspace_end_;
  std::unique_ptr<Arena> arena_;
};

std::vector<float> Run(Device& device, const Case& test) {
  std::vector<Shape> shapes;
  std::vector<DType> dtypes;
  std::vector<ConstTensorView> inputs;
  for (const Operand& input : test.inputs) {
    shapes.push_back(input.shape);
    dtypes.push_back(input.dtype);
    inputs.push_back({input.dtype, input.shape, input.bytes.data(), input.scale});
  }
  const Shape shape = op::InferShape(test.op, shapes);
  const OpSignature signature{&test.op, shapes, dtypes, shape, test.output_dtype};
  EXPECT_TRUE(device.Supports(signature).ok()) << device.Supports(signature).message();
  const DType dtype = test.output_dtype;
  PoisonedMemory memory(device, NumBytes(dtype, shape), device.WorkspaceBytes(signature));
  const TensorView output{dtype, shape, memory.output().data()};
  const Status status = device.Run({&test.op, inputs, output, memory.workspace()}, {});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(memory.GuardsAreIntact());
  std::vector<float> values(static_cast<size_t>(shape.num_elements()));
  DequantizeRow(dtype, output.data, values.data(), shape.num_elements());
  return values;
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
  for (const char* target : {"AVX2", "AVX3", "AVX3_DL"}) {
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
