#include "graph/graph.h"

#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/check.h"

namespace ingot {

Value Graph::Input(std::string name, Shape shape, DType dtype) {
  INGOT_CHECK(FindInput(name).id < 0);
  return Append({op::Input{std::move(name)}, {}, shape, dtype});
}

Value Graph::Weight(const Scope& scope, std::string_view leaf, Shape shape) {
  return Append({op::Weight{.name = (scope / leaf).name()}, {}, shape, DType::kF32});
}

Value Graph::Linear(const Scope& scope, Value x, int64_t out, const LinearOptions& options) {
  const op::Linear linear = {.has_bias = options.bias, .sensitive = options.sensitive};
  std::vector<Value> inputs = {x, Weight(scope, "weight", {out, shape(x).back()})};
  if (options.bias) inputs.push_back(Weight(scope, "bias", {out}));
  return New(linear, std::move(inputs));
}

Value Graph::LayerNorm(const Scope& scope, Value x, float eps) {
  const Shape features = {shape(x).back()};
  const Value weight = Weight(scope, "weight", features);
  return New(op::LayerNorm{eps}, {x, weight, Weight(scope, "bias", features)});
}

Value Graph::GroupNorm(const Scope& scope, Value x, int num_groups, float eps) {
  const Shape channels = {shape(x).back()};
  const Value weight = Weight(scope, "weight", channels);
  return New(op::GroupNorm{num_groups, eps}, {x, weight, Weight(scope, "bias", channels)});
}

Value Graph::Reshape(Value x, Shape new_shape) {
  INGOT_CHECK(new_shape.num_elements() == shape(x).num_elements());
  return Append({op::Reshape{}, {x}, new_shape, node(x).dtype});
}

Value Graph::Permute(Value x, std::initializer_list<int> axes) {
  INGOT_CHECK(static_cast<int>(axes.size()) == shape(x).rank());
  op::Permute permute;
  std::copy(axes.begin(), axes.end(), permute.axes.begin());
  return New(permute, {x});
}

Value Graph::Slice(Value x, int axis, int64_t begin, int64_t end) {
  if (axis < 0) axis += shape(x).rank();
  return New(op::Slice{axis, begin, end}, {x});
}

Value Graph::Concat(std::vector<Value> xs, int axis) {
  if (axis < 0) axis += shape(xs[0]).rank();
  return New(op::Concat{axis}, std::move(xs));
}

Value Graph::Conv2d(const Scope& scope, Value x, int64_t out, int64_t kernel,
                    const op::Conv2d& attributes) {
  const Value weight = Weight(scope, "weight", {out, shape(x).back(), kernel, kernel});
  op::Conv2d conv = attributes;
  conv.has_bias = true;
  return New(conv, {x, weight, Weight(scope, "bias", {out})});
}

Value Graph::FindInput(std::string_view name) const {
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const auto* input = std::get_if<op::Input>(&nodes_[i].op);
    if (input != nullptr && input->name == name) return {static_cast<int32_t>(i)};
  }
  return {};
}

Value Graph::New(op::Op op, std::vector<Value> inputs) {
  std::vector<Shape> shapes;
  for (Value input : inputs) shapes.push_back(shape(input));
  Shape out = op::InferShape(op, shapes);
  return Append({std::move(op), std::move(inputs), out, DType::kF32});
}

Value Graph::Append(Node node) {
  for (Value input : node.inputs) {
    INGOT_CHECK(0 <= input.id && input.id < static_cast<int32_t>(nodes_.size()));
  }
  nodes_.push_back(std::move(node));
  return {static_cast<int32_t>(nodes_.size()) - 1};
}

std::string DumpText(const Graph& graph) {
  std::string text;
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    std::vector<std::string> operands;
    for (Value input : node.inputs) operands.push_back(fmt::format("%{}", input.id));
    const std::string attributes = op::DescribeAttributes(node.op);
    text += fmt::format("%{} = {}({}){}{} {} {}\n", i, op::Name(node.op), fmt::join(operands, ", "),
                        attributes.empty() ? "" : " ", attributes, node.shape.ToString(),
                        Name(node.dtype));
  }
  for (const Graph::Output& output : graph.outputs()) {
    text += fmt::format("output {} = %{}\n", output.name, output.value.id);
  }
  return text;
}

}  // namespace ingot
