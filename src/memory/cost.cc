#include "memory/cost.h"

#include <variant>

namespace ingot {
namespace {

Product ProductOf(Product f32, Product i16, Product i8, op::Compute compute) {
  switch (compute) {
    case op::Compute::kF32:
      return f32;
    case op::Compute::kI16:
      return i16;
    case op::Compute::kI8:
    case op::Compute::kF8:  // no device that wants it has rates
      return i8;
  }
  INGOT_CHECK(false);
}

double NumElements(const Shape& shape) { return static_cast<double>(shape.num_elements()); }

double Bytes(DType dtype, const Shape& shape) {
  return static_cast<double>(NumBytes(dtype, shape));
}

}  // namespace

OpCost CostOf(const OpSignature& signature) {
  const auto input = [&](int idx) { return signature.input_shapes[static_cast<size_t>(idx)]; };
  const double num_outputs = NumElements(signature.output_shape);
  OpCost cost;
  int weight = -1;
  if (const auto* linear = std::get_if<op::Linear>(signature.op)) {
    weight = op::OperandsOf(*linear).weight;
    cost.product =
        ProductOf(Product::kLinearF32, Product::kLinearI16, Product::kLinearI8, linear->compute);
    cost.num_weights = NumElements(input(weight));
    cost.num_ops = 2 * num_outputs * static_cast<double>(input(weight).back());
  } else if (const auto* attention = std::get_if<op::Attention>(signature.op)) {
    cost.product = ProductOf(Product::kAttentionF32, Product::kAttentionI16, Product::kAttentionI8,
                             attention->compute);
    cost.num_ops = 4 * num_outputs * static_cast<double>(input(1)[1]);
  } else if (const auto* conv = std::get_if<op::Conv2d>(signature.op)) {
    weight = op::OperandsOf(*conv).weight;
    cost.product =
        ProductOf(Product::kConvF32, Product::kConvI16, Product::kConvI16, conv->compute);
    cost.num_filters = NumElements(input(weight));
    cost.num_ops = 2 * num_outputs * cost.num_filters / static_cast<double>(input(weight)[0]);
    if (conv->upsample) cost.num_ops *= 2.0 / 3;
  }
  for (size_t i = 0; i < signature.input_shapes.size(); ++i) {
    if (static_cast<int>(i) == weight) continue;
    cost.num_bytes += Bytes(signature.input_dtypes[i], signature.input_shapes[i]);
  }
  cost.num_bytes += Bytes(signature.output_dtype, signature.output_shape);
  return cost;
}

double Seconds(const OpCost& cost, const DeviceRates& rates) {
  double seconds = 1 / rates.calls + cost.num_bytes / rates.bytes;
  if (cost.num_ops > 0) seconds += cost.num_ops / rates.ops[static_cast<size_t>(cost.product)];
  if (cost.num_weights > 0) seconds += cost.num_weights / rates.weights;
  if (cost.num_filters > 0) seconds += cost.num_filters / rates.filters;
  return seconds;
}

}  // namespace ingot
