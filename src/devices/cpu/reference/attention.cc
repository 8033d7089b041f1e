// Attention: one query row at a time, softmax over all its scores.
#include <algorithm>
#include <cmath>
#include <vector>

#include "devices/cpu/reference/operand.h"
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
  size_t stride;  // from key to key
  double scale;
  float* out;
};

void Attend(const QueryRow& row) {
  std::vector<double> p(row.num_keys);
  for (size_t j = 0; j < row.num_keys; ++j) {
    double dot = 0.0;
    for (size_t d = 0; d < row.head_dim; ++d) {
      dot += static_cast<double>(row.q[d]) * row.keys[j * row.stride + d];
    }
    p[j] = row.scale * dot + (row.bias != nullptr ? row.bias[j] : 0.0);
  }
  const double max = *std::max_element(p.begin(), p.end());
  double sum = 0.0;
  for (double& score : p) sum += score = std::exp(score - max);
  for (size_t d = 0; d < row.head_dim; ++d) {
    double value = 0.0;
    for (size_t j = 0; j < row.num_keys; ++j) value += p[j] * row.values[j * row.stride + d];
    row.out[d] = static_cast<float>(value / sum);
  }
}

}  // namespace

void Run(const op::Attention& op, const OpCall& call, ThreadPool& pool) {
  const Shape& shape = call.inputs[0].shape;  // [B, Lq, H, Dh]
  const std::vector<float> q = Load(call.inputs[0]), k = Load(call.inputs[1]),
                           v = Load(call.inputs[2]);
  const std::vector<float> bias =
      call.inputs.size() == 4 ? Load(call.inputs[3]) : std::vector<float>();
  const size_t num_queries = static_cast<size_t>(shape[1]), heads = static_cast<size_t>(shape[2]);
  const size_t head_dim = static_cast<size_t>(shape[3]);
  const size_t num_keys = static_cast<size_t>(call.inputs[1].shape[1]);
  std::vector<float> out(q.size());
  pool.ParallelFor(q.size() / head_dim, [&](size_t item, size_t) {
    const size_t head = item % heads, query = item / heads % num_queries;
    const size_t picture = item / heads / num_queries;
    const size_t first_key = (picture * num_keys * heads + head) * head_dim;
    // A bias of one picture serves the whole batch.
    const size_t bias_row = (picture * heads + head) * num_queries + query;
    Attend({.q = q.data() + item * head_dim,
            .keys = k.data() + first_key,
            .values = v.data() + first_key,
            .bias = bias.empty() ? nullptr : bias.data() + bias_row * num_keys % bias.size(),
            .num_keys = op.causal ? std::min(query + 1, num_keys) : num_keys,
            .head_dim = head_dim,
            .stride = heads * head_dim,
            .scale = op.scale,
            .out = out.data() + item * head_dim});
  });
  Store(out, call.output);
}

}  // namespace ingot::cpu::reference
