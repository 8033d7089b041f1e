// Names files that are not weights by their first bytes.
#pragma once

#include <string>
#include <string_view>

namespace ingot {

// What a file with this beginning is, and what to use instead where that helps:
// "a Git LFS pointer, not the file itself; run `git lfs pull`". Never empty.
std::string DescribeForeignFile(std::string_view head);

}  // namespace ingot
