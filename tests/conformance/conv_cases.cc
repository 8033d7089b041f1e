#include "conv_cases.h"

#include <fmt/format.h>

namespace ingot::conformance {

Case MakeConvCase(const ConvSize& s, const op::Conv2d& op, const ConvTypes& types) {
  const Shape x = {s.batch, s.height, s.width, s.channels};
  Case test{.name = fmt::format("{}, {} filters of {}: {} {}", x.ToString(), s.filters, s.kernel,
                                op::DescribeAttributes(op), Name(types.picture)),
            .op = op,
            .row_elements = {},
            .output_dtype = types.picture};
  std::vector<Shape> shapes;
  const auto add = [&](DType dtype, const Shape& shape) {
    shapes.push_back(shape);
    test.inputs.push_back(
        RandomOperand(dtype, shape, static_cast<uint32_t>(test.inputs.size() + 1)));
  };
  add(types.picture, x);
  if (op.norm_silu) {
    add(DType::kF32, {s.batch, 4, 2});
    add(DType::kF32, {s.channels});
    add(DType::kF32, {s.channels});
  }
  add(types.weight, {s.filters, s.channels, s.kernel, s.kernel});
  if (op.has_bias) add(DType::kF32, {s.filters});
  if (op.residual) {
    op::Conv2d plain = op;
    plain.residual = false;
    add(types.picture, op::InferShape(plain, shapes));
  }
  for (const Shape& shape : shapes) test.row_elements.push_back(shape.back());
  test.row_elements.push_back(s.filters);
  return test;
}

op::Conv2d FusedConv(op::Compute compute, bool upsample) {
  op::Conv2d op = kSame3x3;
  op.compute = compute;
  op.norm_silu = op.residual = true;
  op.upsample = upsample;
  return op;
}

}  // namespace ingot::conformance
