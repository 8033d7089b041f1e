#include "movement_cases.h"

#include <algorithm>
#include <numeric>
#include <string>

namespace ingot::conformance {

std::vector<Case> PermuteCases(const Shape& x) {
  std::vector<Case> cases;
  op::Permute permute;
  std::iota(permute.axes.begin(), permute.axes.end(), 0);
  do {
    cases.push_back({x.ToString() + op::DescribeAttributes(permute), permute, {Floats(x, 1)}});
  } while (std::next_permutation(permute.axes.begin(), permute.axes.begin() + 4));
  return cases;
}

std::vector<Case> SliceCases(const Shape& x, int64_t begin, int64_t end) {
  std::vector<Case> cases;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const op::Slice slice = {.axis = axis, .begin = begin, .end = end};
    cases.push_back({x.ToString() + op::DescribeAttributes(slice), slice, {Floats(x, 1)}});
  }
  return cases;
}

std::vector<Case> ConcatCases(const Shape& x) {
  std::vector<Case> cases;
  for (int axis = 0; axis < x.rank(); ++axis) {
    const op::Concat concat = {.axis = axis};
    Shape step = x;
    step[axis] = 1;
    cases.push_back({x.ToString() + op::DescribeAttributes(concat),
                     concat,
                     {Floats(x, 1), Floats(step, 2), Floats(x, 3)}});
  }
  return cases;
}

Case EmbeddingCase(DType table) {
  return {std::string(Name(table)),
          op::Embedding{},
          {Ids({2, 3}, {0, 9, 3, 3, 1, 7}), RandomOperand(table, {10, 512}, 1)}};
}

}  // namespace ingot::conformance
