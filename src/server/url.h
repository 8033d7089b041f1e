// The target of a request: percent-decoding, path and query.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace ingot::server {

struct Target {
  std::string path;                          // decoded, without a trailing slash
  std::map<std::string, std::string> query;  // the last of equal names
};

// Of "/a%20b/?x=1", or of the whole URL as proxies send it. kInvalidArgument: no path, a wrong
// escape, a control character or bytes that are not UTF-8.
Result<Target> ParseTarget(std::string_view target);

bool IsUtf8(std::string_view text);

}  // namespace ingot::server
