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

Operand OperandOf(DType dtype, const Shape& shape, std::span<const std::byte> bytes) {
  return {.dtype = dtype, .shape = shape, .bytes = {bytes.begin(), bytes.end()}};
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

enum class Layout { kContiguous, kRuns, kInPlace };

// Poison behind each run: rows lie at odd multiples of an element.
constexpr int64_t kGapElements = 19;

// The bytes of an operand in runs of `row_bytes`, `gap_bytes` apart.
std::vector<std::byte> InRuns(const std::vector<std::byte>& bytes, size_t row_bytes,
                              size_t gap_bytes) {
  std::vector<std::byte> runs;
  for (size_t begin = 0; begin < bytes.size(); begin += row_bytes) {
    const auto row = bytes.begin() + static_cast<std::ptrdiff_t>(begin);
    runs.insert(runs.end(), row, row + static_cast<std::ptrdiff_t>(row_bytes));
    for (size_t i = 0; i < gap_bytes; ++i) runs.push_back(kPoison[i % 4]);
  }
  return runs;
}

// The length of the runs in which operand `idx` (the output: the number of inputs) is passed;
// 0: contiguous.
int64_t RunElements(const Device& device, const Case& test, size_t idx, Layout layout) {
  if (layout != Layout::kRuns || test.row_elements.empty()) return 0;
  const int input_idx = idx == test.inputs.size() ? -1 : static_cast<int>(idx);
  return device.AcceptsRuns(test.op, input_idx) ? test.row_elements[idx] : 0;
}

std::vector<float> Run(Device& device, const Case& test, Layout layout = Layout::kContiguous) {
  std::vector<Shape> shapes;
  std::vector<DType> dtypes;
  std::vector<ConstTensorView> inputs;
  std::vector<std::vector<std::byte>> in_runs(test.inputs.size());
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    const Operand& input = test.inputs[i];
    shapes.push_back(input.shape);
    dtypes.push_back(input.dtype);
    inputs.push_back({input.dtype, input.shape, input.bytes.data() + input.offset, input.scale});
    const int64_t run = RunElements(device, test, i, layout);
    if (run == 0) continue;
    in_runs[i] = InRuns(input.bytes, static_cast<size_t>(NumBytes(input.dtype, {run})),
                        static_cast<size_t>(NumBytes(input.dtype, {kGapElements})));
    inputs[i].data = in_runs[i].data();
    inputs[i].run_elements = run;
    inputs[i].run_stride = run + kGapElements;
  }
  const Shape shape = op::InferShape(test.op, shapes);
  const OpSignature signature{&test.op, shapes, dtypes, shape, test.output_dtype};
  EXPECT_TRUE(device.Supports(signature).ok()) << device.Supports(signature).message();

  const int64_t run = RunElements(device, test, test.inputs.size(), layout);
  const int64_t row = run > 0 ? run : shape.num_elements();
  const int64_t stride = run > 0 ? run + kGapElements : row;
  const int64_t num_rows = shape.num_elements() / row;
  const DType dtype = test.output_dtype;
  PoisonedMemory memory(device, NumBytes(dtype, {num_rows * stride}),
                        device.WorkspaceBytes(signature));
  TensorView output{dtype, shape, memory.output().data()};
  if (run > 0) output.run_elements = run, output.run_stride = stride;
  const int alias = device.AliasOf(test.op);
  if (layout == Layout::kInPlace && alias >= 0) {
    const Operand& operand = test.inputs[static_cast<size_t>(alias)];
    if (operand.dtype == dtype && operand.shape == shape) {
      std::copy(operand.bytes.begin(), operand.bytes.end(), memory.output().begin());
      inputs[static_cast<size_t>(alias)].data = memory.output().data();
    }
  }
  const Status status = device.Run({&test.op, inputs, output, memory.workspace()}, {});
  EXPECT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(memory.GuardsAreIntact());

  std::vector<float> values(static_cast<size_t>(shape.num_elements()));
  const size_t row_bytes = static_cast<size_t>(NumBytes(dtype, {row}));
  const size_t stride_bytes = static_cast<size_t>(NumBytes(dtype, {stride}));
  for (int64_t i = 0; i < num_rows; ++i) {
    const size_t begin = static_cast<size_t>(i) * stride_bytes;
    DequantizeRow(dtype, memory.output().data() + begin, values.data() + i * row, row);
    for (size_t gap = begin + row_bytes; gap < begin + stride_bytes; ++gap) {
      EXPECT_EQ(memory.output()[gap], kPoison[gap % 4]) << "written beside row " << i;
    }
  }
  return values;
}

}  // namespace

double RelativeError(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0.0, largest = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) || std::isnan(b[i])) return INFINITY;
    error = std::max(error, std::abs(static_cast<double>(a[i]) - b[i]));
    largest = std::max(largest, std::abs(static_cast<double>(b[i])));
  }
  return largest == 0.0 ? error : error / largest;
}

double RelativeRms(const std::vector<float>& a, const std::vector<float>& b) {
  double error = 0.0, square = 0.0;
  for (size_t i = 0; i < a.size(); ++i) {
    error += std::pow(static_cast<double>(a[i]) - b[i], 2);
    square += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(error / square);
}

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

Operand FloatsOf(const Shape& shape, const std::vector<float>& values) {
  return OperandOf(DType::kF32, shape, std::as_bytes(std::span(values)));
}

Operand Ids(const Shape& shape, const std::vector<int32_t>& values) {
  return OperandOf(DType::kI32, shape, std::as_bytes(std::span(values)));
}

std::vector<float> RunFast(const Case& test) {
  const auto device = OpenDevice({});
  INGOT_CHECK(device != nullptr);
  return Run(*device, test);
}

std::vector<float> RunReference(const Case& test) {
  const auto device = OpenDevice({.kernels = CpuKernels::kReference, .target = {}});
  INGOT_CHECK(device != nullptr);
  return Run(*device, test);
}

void ExpectConforms(const Case& test) {
  SCOPED_TRACE(test.name);
  const std::vector<float> expected = RunReference(test);
  std::vector<float> first;
  for (const char* target : {"AVX2", "AVX_VNNI", "AVX3", "AVX3_DL", "AMX"}) {
    for (size_t num_threads : {1, 2, 5}) {
      const auto device = OpenDevice({.num_threads = num_threads, .target = target});
      if (device == nullptr) continue;  // this machine has no such level
      SCOPED_TRACE(target);
      const std::vector<float> found = Run(*device, test);
      EXPECT_LE(RelativeError(found, expected), test.tolerance) << num_threads << " threads";
      if (first.empty()) first = found;
      EXPECT_EQ(std::memcmp(found.data(), first.data(), found.size() * sizeof(float)), 0)
          << "other bits at " << num_threads << " threads";
      if (num_threads != 2) continue;
      for (Layout layout : {Layout::kRuns, Layout::kInPlace}) {
        const std::vector<float> other = Run(*device, test, layout);
        EXPECT_EQ(std::memcmp(other.data(), first.data(), other.size() * sizeof(float)), 0)
            << "other bits " << (layout == Layout::kRuns ? "in runs" : "in place");
      }
    }
  }
}

}  // namespace ingot::conformance
