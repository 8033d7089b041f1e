#include "devices/cpu/linear_call.h"

namespace ingot::cpu {
namespace {

OperandRows RowsOf(const OpCall& call, int input_idx) {
  const ConstTensorView& view = call.inputs[static_cast<size_t>(input_idx)];
  INGOT_CHECK(view.dtype == DType::kF32);
  return {reinterpret_cast<const float*>(view.data),
          static_cast<size_t>(view.RowStride(view.shape.back()))};
}

}  // namespace

LinearCall MakeLinearCall(const op::Linear& op, const OpCall& call) {
  const op::LinearOperands operands = op::OperandsOf(op);
  const ConstTensorView& weight = call.inputs[static_cast<size_t>(operands.weight)];
  const Shape& shape = call.output.shape;
  LinearCall linear = {};
  linear.num_features = static_cast<size_t>(weight.shape[0]);
  linear.num_k = static_cast<size_t>(weight.shape[1]);
  linear.num_rows = static_cast<size_t>(shape.num_elements()) / linear.num_features;
  linear.rows_per_picture = RowsPerPicture(shape);
  linear.prologue = op.prologue;
  linear.eps = op.eps;
  linear.x = RowsOf(call, 0);
  switch (op.prologue) {
    case op::Prologue::kNone:
    case op::Prologue::kGeluTanh:
      break;
    case op::Prologue::kAdaLayerNorm:
      linear.shift = RowsOf(call, 1);
      linear.scale = RowsOf(call, 2);
      break;
    case op::Prologue::kConcatGeluTanh:
      linear.num_b = static_cast<size_t>(call.inputs[1].shape.back());
      [[fallthrough]];
    case op::Prologue::kGatedGeluTanh:
      linear.b = RowsOf(call, 1);
      break;
  }
  linear.weight = weight;
  if (operands.bias >= 0) linear.bias = RowsOf(call, operands.bias).data;
  linear.epilogue = op.epilogue;
  if (operands.residual >= 0) linear.residual = RowsOf(call, operands.residual);
  if (operands.gate >= 0) linear.gate = RowsOf(call, operands.gate);
  INGOT_CHECK(call.output.dtype == DType::kF32);
  linear.out = reinterpret_cast<float*>(call.output.data);
  linear.out_stride = static_cast<size_t>(call.output.RowStride(shape.back()));
  return linear;
}

}  // namespace ingot::cpu
