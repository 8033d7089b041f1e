#include "graph/passes/precision.h"

#include <array>

#include <string>
#include <variant>
#include <vector>

namespace ingot {
namespace {

constexpr int64_t kMinRows = 32;  // precision.h says why

class Chooser {
 public:
  Chooser(const Graph& graph, Precision precision, const WeightDTypes& weight_dtypes, bool takes_f8)
      : graph_(graph), precision_(precision), weight_dtypes_(weight_dtypes), takes_f8_(takes_f8) {
    FindPicturesBetweenConvolutions();
  }

  Graph Run() const {
    Graph out;
    for (size_t i = 0; i < graph_.nodes().size(); ++i) {
      Node node = graph_.nodes()[i];
      std::visit([&](auto& op) { Choose(op, node); }, node.op);
      if (Has<op::Conv2d>(node)) {
        const bool f16 = between_convolutions_[i] && precision_ != Precision::kExact;
        node.dtype = f16 ? DType::kF16 : DType::kF32;
      }
      out.Append(std::move(node));
    }
    for (const auto& [name, value] : graph_.outputs()) out.MarkOutput(name, value);
    return out;
  }

 private:
  template <typename Op>
  static bool Has(const Node& node) {
    return std::holds_alternative<Op>(node.op);
  }

  void FindPicturesBetweenConvolutions() {
    between_convolutions_.assign(graph_.nodes().size(), true);
    for (const Node& node : graph_.nodes()) {
      if (Has<op::Conv2d>(node) || Has<op::GroupNormStats>(node)) continue;
      for (Value input : node.inputs) between_convolutions_[static_cast<size_t>(input.id)] = false;
    }
    for (const Graph::Output& output : graph_.outputs()) {
      between_convolutions_[static_cast<size_t>(output.value.id)] = false;
    }
  }

  template <typename Op>
  void Choose(Op&, const Node&) const {}

  void Choose(op::Linear& linear, const Node& node) const {
    const int64_t num_rows = node.shape.num_elements() / node.shape.back() / node.shape[0];
    if (precision_ == Precision::kExact || linear.sensitive || num_rows < kMinRows) {
      linear.compute = op::Compute::kF32;
      return;
    }
    if (takes_f8_ && precision_ == Precision::kFast) {
      linear.compute = op::Compute::kF8;
      return;
    }
    const Value weight = node.inputs[static_cast<size_t>(op::OperandsOf(linear).weight)];
    const std::string& name = std::get<op::Weight>(graph_.node(weight).op).name;
    linear.compute = IsBlockFormat(weight_dtypes_(name)) ? op::Compute::kI8 : op::Compute::kI16;
  }

  void Choose(op::Attention& attention, const Node&) const {
    attention.compute = attention.causal || precision_ == Precision::kExact ? op::Compute::kF32
                        : precision_ == Precision::kFast                    ? op::Compute::kI8
                                                                            : op::Compute::kI16;
  }

  void Choose(op::Conv2d& conv, const Node&) const {
    conv.compute = precision_ == Precision::kExact ? op::Compute::kF32 : op::Compute::kI16;
  }

  const Graph& graph_;
  Precision precision_;
  const WeightDTypes& weight_dtypes_;
  bool takes_f8_;
  std::vector<bool> between_convolutions_;
};

}  // namespace

std::string_view Name(Precision precision) {
  constexpr std::array<std::string_view, 3> kNames = {"fast", "default", "exact"};
  return kNames[static_cast<size_t>(precision)];
}

Result<Precision> FindPrecision(std::string_view name) {
  for (Precision precision : {Precision::kFast, Precision::kDefault, Precision::kExact}) {
    if (name == Name(precision)) return precision;
  }
  return InvalidArgument("precision: expected fast, default or exact, found '{}'", name);
}

Graph SetPrecision(const Graph& graph, Precision precision, const WeightDTypes& weight_dtypes,
                   bool takes_f8) {
  return Chooser(graph, precision, weight_dtypes, takes_f8).Run();
}

}  // namespace ingot
