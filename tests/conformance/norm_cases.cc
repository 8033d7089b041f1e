#include "norm_cases.h"

#include <string>

namespace ingot::conformance {

std::vector<Case> RowNormCases(int64_t width) {
  const Operand x = Floats({2, 5, width}, 1);
  const Operand weight = Floats({width}, 2), bias = Floats({width}, 3);
  const std::string name = Shape({width}).ToString();
  // eps keeps the variance of one element away from 0 / 0.
  const op::LayerNorm layer = {1e-3f};
  return {{name, layer, {x}, kNormTolerance, {width, width}},
          {name, layer, {x, weight, bias}, kNormTolerance, {width, width, width, width}},
          {name, op::RmsNorm{1e-6f}, {x, weight}, kNormTolerance, {width, width, width}}};
}

std::vector<Case> GroupNormCases(DType picture, int64_t size) {
  const Operand x = RandomOperand(picture, {2, size, size + 1, 36}, 1);
  const std::string name = x.shape.ToString();
  return {{name, op::GroupNormStats{.num_groups = 6, .eps = 1e-3f}, {x}, kNormTolerance, {36, 2}},
          {name,
           op::GroupNorm{.num_groups = 6, .eps = 1e-3f},
           {x, Floats({36}, 2), Floats({36}, 3)},
           kNormTolerance,
           {36, 36, 36, 36}}};
}

std::vector<Case> LargeMeanCases(const Shape& picture, int64_t width) {
  Operand x = Floats(picture, 1);
  const int64_t count = picture.num_elements();
  for (int64_t i = 0; i < count; ++i) Values(x)[i] += 1000.0f;
  Operand rows = x;
  rows.shape = {count / width, width};
  constexpr double kTolerance = 2e-4;  // the mean itself is rounded at 1000 * 2^-24 = 6e-5
  return {{"group",
           op::GroupNorm{.num_groups = 2, .eps = 1e-6f},
           {x, Floats({picture[3]}, 2), Floats({picture[3]}, 3)},
           kTolerance},
          {"layer", op::LayerNorm{1e-6f}, {rows}, kTolerance}};
}

}  // namespace ingot::conformance
