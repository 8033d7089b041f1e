// Where the rows of one head lie in tokens whose heads are beside each other.
#pragma once

#include <cstddef>

namespace ingot::cpu {

// `count` rows of Dh elements, `stride` elements from token to token.
struct HeadRows {
  const float* data;
  size_t stride, count;
};

}  // namespace ingot::cpu
