#include "devices/cpu/linear.h"

#include "devices/cpu/linear_call.h"
#include "devices/cpu/linear_f32.h"
#include "devices/cpu/linear_int16.h"
#include "devices/cpu/linear_int8.h"

namespace ingot::cpu {

int64_t WorkspaceBytes(const op::Linear& op, const OpSignature& signature, size_t num_threads) {
  const Shape& weight = signature.input_shapes[static_cast<size_t>(op::OperandsOf(op).weight)];
  const auto num_k = static_cast<size_t>(weight[1]);
  const auto num_rows = static_cast<size_t>(signature.output_shape.num_elements() / weight[0]);
  switch (op.compute) {
    case op::Compute::kF32:
      return LinearF32WorkspaceBytes(op.prologue, num_rows, num_k, num_threads);
    case op::Compute::kI16:
      return LinearInt16WorkspaceBytes(num_rows, num_k, num_threads);
    case op::Compute::kI8:
      return LinearInt8WorkspaceBytes({.num_rows = num_rows,
                                       .num_k = num_k,
                                       .num_features = static_cast<size_t>(weight[0]),
                                       .rows_per_picture = RowsPerPicture(signature.output_shape)},
                                      num_threads);
    case op::Compute::kF8:  // Supports refuses it
      break;
  }
  return 0;
}

void Run(const op::Linear& op, const OpCall& call, ThreadPool& pool, std::stop_token stop) {
  const LinearCall linear = MakeLinearCall(op, call);
  switch (op.compute) {
    case op::Compute::kF32:
      return RunLinearF32(linear, call.workspace, pool);
    case op::Compute::kI16:
      return RunLinearInt16(linear, call.workspace, pool, stop);
    case op::Compute::kI8:
      return RunLinearInt8(linear, call.workspace, pool, stop);
    case op::Compute::kF8:
      INGOT_CHECK(false);
  }
}

bool AcceptsRuns(const op::Linear& op, int input_idx) {
  const op::LinearOperands operands = op::OperandsOf(op);
  return input_idx != operands.weight && (input_idx < 0 || input_idx != operands.bias);
}

int AliasOf(const op::Linear& op) { return op::OperandsOf(op).residual; }

}  // namespace ingot::cpu
