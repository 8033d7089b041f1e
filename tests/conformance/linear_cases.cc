#include "linear_cases.h"

#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "devices/cpu/cpu_device.h"

namespace ingot::conformance {

Case MakeLinearCase(op::Compute compute, const LinearSize& size, DType dtype) {
  return {.name = fmt::format("{} [{}, {}, {}] x [{}, {}]", Name(dtype), size.pictures, size.rows,
                              size.k, size.features, size.k),
          .op = op::Linear{.has_bias = true, .compute = compute},
          .inputs = {RandomOperand(DType::kF32, {size.pictures, size.rows, size.k}, 1),
                     RandomOperand(dtype, {size.features, size.k}, 2),
                     RandomOperand(DType::kF32, {size.features}, 3)}};
}

Case MakeFusedLinearCase(op::Compute compute, const LinearSize& size, DType dtype,
                         op::Prologue prologue, op::Epilogue epilogue) {
  const auto f32 = [](const Shape& shape, uint32_t seed) {
    return RandomOperand(DType::kF32, shape, seed);
  };
  const int64_t num_b = prologue == op::Prologue::kConcatGeluTanh ? size.k / 3 : 0;
  const Shape rows = {size.pictures, size.rows, size.k};
  const Shape of_picture = {size.pictures, 1, size.k};
  Case test{.name = fmt::format("prologue {}, epilogue {}", static_cast<int>(prologue),
                                static_cast<int>(epilogue)),
            .op = op::Linear{.has_bias = true,
                             .compute = compute,
                             .prologue = prologue,
                             .eps = 1e-6f,
                             .epilogue = epilogue},
            .inputs = {f32({size.pictures, size.rows, size.k - num_b}, 1)}};
  if (prologue == op::Prologue::kAdaLayerNorm) {
    test.inputs.push_back(f32(of_picture, 2));
    test.inputs.push_back(f32(of_picture, 3));
  }
  if (prologue == op::Prologue::kGatedGeluTanh) test.inputs.push_back(f32(rows, 4));
  if (num_b != 0) test.inputs.push_back(f32({size.pictures, size.rows, num_b}, 5));
  test.inputs.push_back(RandomOperand(dtype, {size.features, size.k}, 6));
  test.inputs.push_back(f32({size.features}, 9));
  if (epilogue != op::Epilogue::kNone) {
    test.inputs.push_back(f32({size.pictures, size.rows, size.features}, 7));
  }
  if (epilogue == op::Epilogue::kGatedAdd) {
    test.inputs.push_back(f32({size.pictures, 1, size.features}, 8));
  }
  return test;
}

Case RowsOfPicture(const Case& test, int64_t picture, int64_t begin, int64_t count) {
  Case part = test;
  const Shape x = test.inputs[0].shape;
  for (Operand& operand : part.inputs) {
    if (operand.shape.rank() != 3) continue;  // the weight, the bias
    const bool is_of_picture = operand.shape[1] == 1 && x[1] != 1;
    const int64_t first = is_of_picture ? picture : picture * x[1] + begin;
    const int64_t num_rows = is_of_picture ? 1 : count, row_bytes = operand.shape[2] * 4;
    const std::vector<std::byte> all = std::move(operand.bytes);
    operand.bytes.assign(all.begin() + first * row_bytes,
                         all.begin() + (first + num_rows) * row_bytes);
    operand.shape = {1, num_rows, operand.shape[2]};
  }
  return part;
}

namespace {

// A row-major f32 operand in runs, NaN between its rows.
struct InRuns {
  InRuns(const Shape& s, const std::byte* contiguous, int64_t gap) : shape(s), row(s.back()) {
    const int64_t num_rows = s.num_elements() / row;
    stride = row + gap;
    values.assign(static_cast<size_t>(num_rows * stride), std::numeric_limits<float>::quiet_NaN());
    for (int64_t r = 0; contiguous != nullptr && r < num_rows; ++r) {
      std::memcpy(values.data() + r * stride, contiguous + r * row * 4,
                  static_cast<size_t>(row) * 4);
    }
  }
  TensorView view() {
    return {DType::kF32, shape, reinterpret_cast<std::byte*>(values.data()), row, stride};
  }

  Shape shape;
  int64_t row, stride;
  std::vector<float> values;
};

}  // namespace

void ExpectSameInRuns(const Case& test) {
  SCOPED_TRACE(test.name);
  const std::vector<float> expected = RunFast(test);
  const auto device = *OpenCpuDevice({});
  std::vector<Shape> shapes;
  std::vector<DType> dtypes;
  std::vector<ConstTensorView> views;
  std::vector<InRuns> in_runs;
  in_runs.reserve(test.inputs.size() + 1);
  for (size_t i = 0; i < test.inputs.size(); ++i) {
    const Operand& input = test.inputs[i];
    shapes.push_back(input.shape);
    dtypes.push_back(input.dtype);
    views.push_back({input.dtype, input.shape, input.bytes.data(), input.scale});
    if (!device->AcceptsRuns(test.op, static_cast<int>(i))) continue;
    in_runs.emplace_back(input.shape, input.bytes.data(), 3 + static_cast<int64_t>(i));
    views.back() = in_runs.back().view();
  }
  const Shape shape = op::InferShape(test.op, shapes);
  EXPECT_TRUE(device->AcceptsRuns(test.op, -1));
  TensorView output;
  if (const int alias = device->AliasOf(test.op); alias >= 0) {
    const ConstTensorView& over = views[static_cast<size_t>(alias)];
    output = {DType::kF32, shape, const_cast<std::byte*>(over.data), over.run_elements,
              over.run_stride};
  } else {
    in_runs.emplace_back(shape, nullptr, 5);
    output = in_runs.back().view();
  }
  const OpSignature signature{&test.op, shapes, dtypes, shape, DType::kF32};
  const auto workspace = *device->Allocate(device->WorkspaceBytes(signature));
  ASSERT_TRUE(device->Run({&test.op, views, output, workspace->bytes()}, {}).ok());
  const auto* found = reinterpret_cast<const float*>(output.data);
  const int64_t row = shape.back();
  for (int64_t r = 0; r < shape.num_elements() / row; ++r) {
    ASSERT_EQ(std::memcmp(found + r * output.run_stride, expected.data() + r * row,
                          static_cast<size_t>(row) * 4),
              0)
        << "row " << r;
    if (r > 0) {
      ASSERT_TRUE(std::isnan(found[r * output.run_stride - 1])) << "row " << r;
    }
  }
}

}  // namespace ingot::conformance
