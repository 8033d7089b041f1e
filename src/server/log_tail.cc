#include "server/log_tail.h"

#include <algorithm>
#include <utility>

namespace ingot::server {

void LogTail::Add(std::string line) {
  const std::lock_guard lock(mutex_);
  lines_.push_back(std::move(line));
  if (lines_.size() > kMaxLines) lines_.pop_front();
}

std::vector<std::string> LogTail::Last(size_t count) const {
  const std::lock_guard lock(mutex_);
  const auto first = lines_.end() - static_cast<std::ptrdiff_t>(std::min(count, lines_.size()));
  return {first, lines_.end()};
}

}  // namespace ingot::server
