// Rows picked by an index. The device has checked that every index is in range.
#include <algorithm>

#include "devices/cpu/dequantize.h"
#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {

void Run(const op::Embedding&, const OpCall& call, ThreadPool&) {
  const auto ids = call.inputs[0].As<int32_t>();
  const ConstTensorView& table = call.inputs[1];
  const size_t width = static_cast<size_t>(table.shape[1]);
  float* out = call.output.As<float>().data();
  for (size_t i = 0; i < ids.size(); ++i) DequantizeWeightRow(table, ids[i], out + i * width);
}

void Run(const op::TakeRow&, const OpCall& call, ThreadPool&) {
  const Shape& shape = call.inputs[0].shape;
  const auto idx = call.inputs[1].As<int32_t>();
  const size_t length = static_cast<size_t>(shape[1]);
  const size_t width = static_cast<size_t>(shape[2]);
  for (size_t b = 0; b < idx.size(); ++b) {
    const size_t row = b * length + static_cast<size_t>(idx[b]);
    std::ranges::copy(call.inputs[0].As<float>().subspan(row * width, width),
                      call.output.As<float>().subspan(b * width).begin());
  }
}

}  // namespace ingot::cpu::reference
