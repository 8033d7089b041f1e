#include "attention_cases.h"

#include <fmt/format.h>

#include <cmath>
#include <random>

namespace ingot::conformance {

Case MakeAttentionCase(const AttentionSize& size, const op::Attention& op, int64_t bias_pictures) {
  const Shape queries = {size.pictures, size.queries, size.heads, size.head_dim};
  const Shape keys = {size.pictures, size.keys, size.heads, size.head_dim};
  Case test{.name = fmt::format("q {}, {} keys", queries.ToString(), size.keys),
            .op = op,
            .inputs = {Floats(queries, 1), Floats(keys, 2), Floats(keys, 3)},
            .row_elements = std::vector<int64_t>(4, size.heads * size.head_dim)};
  if (bias_pictures > 0) {
    test.inputs.push_back(Floats({bias_pictures, size.heads, size.queries, size.keys}, 4));
    test.row_elements.push_back(size.heads * size.head_dim);
  }
  return test;
}

Case NormalAttentionCase(const AttentionSize& size, double deviation, op::Compute compute) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(size.head_dim));
  Case test = MakeAttentionCase(size, {.scale = scale, .compute = compute});
  for (size_t i = 0; i < 3; ++i) {
    std::mt19937 random(static_cast<uint32_t>(i));
    std::normal_distribution<float> normal(0.0f,
                                           i < 2 ? static_cast<float>(std::sqrt(deviation)) : 1.0f);
    float* values = Values(test.inputs[i]);
    for (int64_t j = 0; j < test.inputs[i].shape.num_elements(); ++j) values[j] = normal(random);
  }
  return test;
}

Case QueriesOf(const Case& whole, int64_t begin, int64_t count) {
  Case part = whole;
  Operand& q = part.inputs[0];
  const int64_t token_bytes = q.shape[2] * q.shape[3] * static_cast<int64_t>(sizeof(float));
  q.shape = {1, count, q.shape[2], q.shape[3]};
  q.bytes.assign(whole.inputs[0].bytes.data() + begin * token_bytes,
                 whole.inputs[0].bytes.data() + (begin + count) * token_bytes);
  return part;
}

}  // namespace ingot::conformance
