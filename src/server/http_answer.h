// What stands before the body of an answer.
#pragma once

#include <string>
#include <string_view>

#include "server/http.h"

namespace ingot::server {

struct AnswerForm {
  bool is_stream = false;  // of unknown length: chunked, with HTTP/1.1
  bool is_version_10 = false;
  bool keeps_alive = false;
  std::string_view request_id;
};

// Status line and headers, to the empty line. Headers of `response` and `more` that would break out
// of their line are left out. Every answer tells browsers to guess no types, to send no referrer
// and to keep nothing; pages may load what this server serves, and stand in no frame.
std::string AnswerHead(const Response& response, const Headers& more, const AnswerForm& form);

std::string_view ReasonPhrase(int status);

}  // namespace ingot::server
