#include "devices/cpu/cpu_device.h"

#include <algorithm>
#include <type_traits>

#include "base/thread_pool.h"
#include "devices/cpu/arena.h"
#include "devices/cpu/attention.h"
#include "devices/cpu/conv.h"
#include "devices/cpu/cpu_target.h"
#include "devices/cpu/dequantize.h"
#include "devices/cpu/elementwise.h"
#include "devices/cpu/group_norm.h"
#include "devices/cpu/linear.h"
#include "devices/cpu/movement.h"
#include "devices/cpu/norm.h"
#include "devices/cpu/position.h"
#include "devices/cpu/reference/reference.h"
#include "devices/op_defaults.h"

namespace ingot::cpu {
using op_defaults::AcceptsRuns, op_defaults::AcceptsStrips, op_defaults::AliasOf,
    op_defaults::WorkspaceBytes;
}

namespace ingot {
namespace {

template <typename T>
inline constexpr bool kIsView =
    std::is_same_v<T, op::Input> || std::is_same_v<T, op::Weight> || std::is_same_v<T, op::Reshape>;

// An op has a fast kernel when an included header declares cpu::Run for it; all others run by the
// reference, which takes runs everywhere, no strips, and writes over no operand.
template <typename T>
concept HasFastKernel = requires(const T& op, const OpCall& call, ThreadPool& pool) {
  cpu::Run(op, call, pool);
};
// A kernel that may take longer than 30 ms asks a stop token.
template <typename T>
concept HasStoppableKernel = requires(const T& op, const OpCall& call, ThreadPool& pool,
                                      std::stop_token stop) {
  cpu::Run(op, call, pool, stop);
};

// The matrices that stay in the file's type: a Linear's, a Conv2d's, an Embedding's table.
bool KeepsFileType(const op::Op& op, int input_idx) {
  return std::visit(
      [&]<typename T>(const T& o) {
        if constexpr (std::is_same_v<T, op::Linear> || std::is_same_v<T, op::Conv2d>) {
          return input_idx == op::OperandsOf(o).weight;
        } else {
          return input_idx == 1 && std::is_same_v<T, op::Embedding>;
        }
      },
      op);
}

// Pictures may be F16 between the ops that take them so.
bool TakesF16(const op::Op& op, int input_idx) {
  if (const auto* conv = std::get_if<op::Conv2d>(&op)) {
    return input_idx <= 0 || input_idx == op::OperandsOf(*conv).residual;
  }
  return input_idx == 0 && (std::holds_alternative<op::GroupNorm>(op) ||
                            std::holds_alternative<op::GroupNormStats>(op));
}

bool TakesIndices(const op::Op& op, size_t input_idx) {
  return (input_idx == 0 && std::holds_alternative<op::Embedding>(op)) ||
         (input_idx == 1 && std::holds_alternative<op::TakeRow>(op));
}

// Indices come from outside (tokens): one out of range must not read elsewhere.
Status CheckIndices(const OpCall& call) {
  for (size_t i = 0; i < call.inputs.size(); ++i) {
    if (!TakesIndices(*call.op, i)) continue;
    const int64_t end = call.inputs[1 - i].shape[static_cast<int>(i)];
    for (int32_t index : call.inputs[i].As<int32_t>()) {
      if (index >= 0 && index < end) continue;
      return InvalidArgument("cpu: {}: expected an index below {}, found {}", op::Name(*call.op),
                             end, index);
    }
  }
  return {};
}

class CpuDevice final : public Device {
 public:
  explicit CpuDevice(const CpuOptions& options)
      : kernels_(options.kernels), pool_(std::max<size_t>(options.num_threads, 1)) {}

  std::string_view name() const override { return "cpu"; }

  Result<std::unique_ptr<Arena>> Allocate(int64_t num_bytes, std::stop_token stop) override {
    return cpu::AllocateArena(num_bytes, stop);
  }

  DType WeightDType(const op::Op& op, int input_idx, DType file_dtype) const override {
    return KeepsFileType(op, input_idx) && cpu::IsWeightType(file_dtype) ? file_dtype : DType::kF32;
  }

  Status Supports(const OpSignature& signature) const override;
  bool AcceptsRuns(const op::Op& op, int input_idx) const override;
  int AliasOf(const op::Op& op) const override;
  bool AcceptsStrips(const op::Op& op) const override;
  int64_t WorkspaceBytes(const OpSignature& signature) const override;
  Status Run(const OpCall& call, std::stop_token stop) override;
  void set_trace(Trace* trace) override {
    Device::set_trace(trace);
    pool_.set_trace(trace);
  }

 private:
  const CpuKernels kernels_;
  ThreadPool pool_;
};

Status CpuDevice::Supports(const OpSignature& signature) const {
  const auto* linear = std::get_if<op::Linear>(signature.op);
  if (kernels_ != CpuKernels::kReference && linear != nullptr &&
      linear->compute == op::Compute::kF8) {
    return Unsupported("cpu: linear: expected f32, i16 or i8, found f8");
  }
  for (size_t i = 0; i < signature.input_dtypes.size(); ++i) {
    const DType found = signature.input_dtypes[i];
    const DType expected = TakesIndices(*signature.op, i)
                               ? DType::kI32
                               : WeightDType(*signature.op, static_cast<int>(i), found);
    if (found == expected) continue;
    if (found == DType::kF16 && TakesF16(*signature.op, static_cast<int>(i))) continue;
    return Unsupported("cpu: {}: expected operand {} in {}, found {}", op::Name(*signature.op), i,
                       Name(expected), Name(found));
  }
  if (signature.output_dtype == DType::kF32) return {};
  if (signature.output_dtype == DType::kF16 && TakesF16(*signature.op, -1)) return {};
  return Unsupported("cpu: {}: expected the output in F32, found {}", op::Name(*signature.op),
                     Name(signature.output_dtype));
}

int64_t CpuDevice::WorkspaceBytes(const OpSignature& signature) const {
  if (kernels_ == CpuKernels::kReference) return 0;
  const size_t num_threads = pool_.num_threads();
  return std::visit([&](const auto& op) { return cpu::WorkspaceBytes(op, signature, num_threads); },
                    *signature.op);
}

bool CpuDevice::AcceptsRuns(const op::Op& op, int input_idx) const {
  if (kernels_ == CpuKernels::kReference) return true;
  return std::visit([&](const auto& o) { return cpu::AcceptsRuns(o, input_idx); }, op);
}

int CpuDevice::AliasOf(const op::Op& op) const {
  if (kernels_ == CpuKernels::kReference) return -1;
  return std::visit([](const auto& o) { return cpu::AliasOf(o); }, op);
}

bool CpuDevice::AcceptsStrips(const op::Op& op) const {
  if (kernels_ == CpuKernels::kReference) return false;
  return std::visit([](const auto& o) { return cpu::AcceptsStrips(o); }, op);
}

Status CpuDevice::Run(const OpCall& call, std::stop_token stop) {
  if (stop.stop_requested()) return Cancelled("cancelled by the caller");
  INGOT_RETURN_IF_ERROR(CheckIndices(call));
  pool_.set_stop(stop);
  std::visit(
      [&]<typename T>(const T& op) {
        if constexpr (kIsView<T>) {
          INGOT_CHECK(false);  // only another view of its input; never run
        } else {
          if constexpr (HasStoppableKernel<T>) {
            if (kernels_ == CpuKernels::kFast) return cpu::Run(op, call, pool_, stop);
          } else if constexpr (HasFastKernel<T>) {
            if (kernels_ == CpuKernels::kFast) return cpu::Run(op, call, pool_);
          }
          cpu::reference::Run(op, call, pool_);
        }
      },
      *call.op);
  return stop.stop_requested() ? Cancelled("cancelled by the caller") : Status();
}

}  // namespace

Result<std::unique_ptr<Device>> OpenCpuDevice(const CpuOptions& options) {
  INGOT_RETURN_IF_ERROR(cpu::SelectTarget(options.target));
  return std::unique_ptr<Device>(std::make_unique<CpuDevice>(options));
}

}  // namespace ingot
