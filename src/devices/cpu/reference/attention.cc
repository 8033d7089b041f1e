// Attention: one query row at a time, softmax over all its scores.
#include <algorithm>
#include <cmath>
#include <vector>

#include "devices/cpu/reference/reference.h"

namespace ingot::cpu::reference {
namespace {

// One query against the keys [0, num_keys) of its head. `bias` may be null.
struct QueryRow {
  const float* q;
  const float* keys;
  const float* values;
  const float* bias;
  size_t num_keys;
  size_t head_dim;
  double scale;
  float* out;
};

void Attend(const QueryRow& row) {
  std::vector<double> p(row.num_keys);
  for (size_t j = 0; j < row.num_keys; ++j) {
    double dot = 0.0;
    for (size_t d = 0; d < row.head_dim; ++d) {
      dot += static_cast<double>(row.q[d]) * row.keys[j * row.head_dim + d];
    }
    p[j] = row.scale * dot + (row.bias != nullptr ? row.bias[j] : 0.0);
  }
  const double max = *std::max_element(p.begin(), p.end());
  double sum = 0.0;
  for (double& score : p) sum += score = std::exp(score - max);
  for (size_t d = 0; d < row.head_dim; ++d) {
    double value = 0.0;
    for (size_t j = 0; j < row.num_keys; ++j) value += p[j] * row.values[j * row.head_dim + d];
    row.out[d] = static_cast<float>(value / sum);
  }
}

}  // namespace

void Run(const op::Attention& op, const OpCall& call, ThreadPool& pool) {
  const Shape& q_shape = call.inputs[0].shape;
  const size_t heads = static_cast<size_t>(q_shape[0] * q_shape[1]);
  const size_t num_queries = static_cast<size_t>(q_shape[2]);
  const size_t head_dim = static_cast<size_t>(q_shape[3]);
  const size_t num_keys = static_cast<size_t>(call.inputs[1].shape[2]);
  const float* bias = call.inputs.size() == 4 ? call.inputs[3].As<float>().data() : nullptr;
  // A bias of one picture serves the whole batch.
  const size_t bias_heads =
      bias != nullptr ? static_cast<size_t>(call.inputs[3].shape[0] * q_shape[1]) : 1;
  pool.ParallelFor(heads * num_queries, [&](size_t item, size_t) {
    const size_t head = item / num_queries;
    const size_t query = item % num_queries;
    const size_t bias_row = head % bias_heads * num_queries + query;
    Attend({.q = call.inputs[0].As<float>().data() + item * head_dim,
            .keys = call.inputs[1].As<float>().data() + head * num_keys * head_dim,
            .values = call.inputs[2].As<float>().data() + head * num_keys * head_dim,
            .bias = bias != nullptr ? bias + bias_row * num_keys : nullptr,
            .num_keys = op.causal ? std::min(query + 1, num_keys) : num_keys,
            .head_dim = head_dim,
            .scale = op.scale,
            .out = call.output.As<float>().data() + item * head_dim});
  });
}

}  // namespace ingot::cpu::reference
