#include "server/http_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/status.hpp>
#include <ctime>

namespace ingot::server {
namespace {

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm utc;
  gmtime_r(&now, &utc);
  char text[32];
  const size_t size = std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text, size};
}

bool Has(const Headers& headers, std::string_view name) {
  return std::any_of(headers.begin(), headers.end(),
                     [&](const auto& header) { return EqualsIgnoringCase(header.first, name); });
}

class HeadText {
 public:
  explicit HeadText(int status)
      : text_(fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\n", status, ReasonPhrase(status),
                          HttpDate())) {}
  void Add(std::string_view name, std::string_view value) {
    // A line break in a value would begin another header.
    if (name.find_first_of("\r\n:") != std::string_view::npos ||
        value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) {
      return;
    }
    text_.append(name).append(": ").append(value).append("\r\n");
  }
  std::string End() && { return std::move(text_.append("\r\n")); }

 private:
  std::string text_;
};

}  // namespace

std::string AnswerHead(const Response& response, const Headers& more, const AnswerForm& form) {
  HeadText head(response.status);
  if (!response.content_type.empty()) head.Add("Content-Type", response.content_type);
  if (form.is_stream) {
    if (!form.is_version_10) head.Add("Transfer-Encoding", "chunked");
  } else if (response.status != 204 && response.status != 304) {
    head.Add("Content-Length", std::to_string(response.body.size()));
  }
  if (!form.keeps_alive) {
    head.Add("Connection", "close");
  } else if (form.is_version_10) {
    head.Add("Connection", "keep-alive");
  }
  if (!form.request_id.empty()) head.Add("X-Request-Id", form.request_id);
  head.Add("X-Content-Type-Options", "nosniff");
  head.Add("Referrer-Policy", "no-referrer");
  if (!Has(response.headers, "Cache-Control")) head.Add("Cache-Control", "no-store");
  if (response.content_type.starts_with("text/html")) {
    if (!Has(response.headers, "Content-Security-Policy")) {
      head.Add("Content-Security-Policy",
               "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; "
               "base-uri 'none'; form-action 'self'; frame-ancestors 'none'");
    }
    head.Add("X-Frame-Options", "DENY");
  }
  for (const auto& [name, value] : response.headers) head.Add(name, value);
  for (const auto& [name, value] : more) head.Add(name, value);
  return std::move(head).End();
}

std::string_view ReasonPhrase(int status) {
  const auto reason =
      boost::beast::http::obsolete_reason(static_cast<boost::beast::http::status>(status));
  return {reason.data(), reason.size()};
}

}  // namespace ingot::server
