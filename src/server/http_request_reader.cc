#include "server/http_request_reader.h"

#include "server/http_answer.h"
#include "server/url.h"

namespace ingot::server {
namespace {

namespace http = boost::beast::http;
using Message = http::request<http::string_body>;
using boost::system::error_code;

constexpr size_t kMaxUnparsedBytes = 64 << 10;  // of a chunk's extension, beside a header's limit

std::optional<RequestFault> FindFault(const Message& message, const Request& request) {
  const bool is_version_10 = message.version() == 10;
  if (!is_version_10 && message.version() != 11) {
    return RequestFault{505, "HTTP: expected version 1.0 or 1.1, found another"};
  }
  const size_t num_hosts = message.count(http::field::host);
  if (num_hosts > 1 || (num_hosts == 0 && !is_version_10)) {
    return RequestFault{400, "Host: expected one, found none or several"};
  }
  const size_t num_encodings = message.count(http::field::transfer_encoding);
  if (num_encodings > 0 && (is_version_10 || num_encodings > 1 ||
                            !EqualsIgnoringCase(request.header("Transfer-Encoding"), "chunked"))) {
    return RequestFault{501, "Transfer-Encoding: expected chunked, found another"};
  }
  // What stands in front of the server may read two lengths otherwise than we do.
  const size_t num_lengths = message.count(http::field::content_length);
  const std::string_view length = request.header("Content-Length");
  if (num_lengths > 1 || length.find_first_not_of("0123456789") != std::string_view::npos ||
      (num_lengths == 1 && num_encodings > 0)) {
    return RequestFault{400, "Content-Length: expected one length, found several"};
  }
  return std::nullopt;
}

}  // namespace

void RequestReader::Begin() {
  parser_.emplace();
  parser_->header_limit(limits_.max_header_bytes);
  parser_->body_limit(limits_.max_body_bytes);
  is_fresh_ = true;
  has_head_ = false;
  body_bytes_ = 0;
  if (inbox_.empty()) inbox_.shrink_to_fit();
}

RequestReader::Found RequestReader::Next() {
  while (!inbox_.empty()) {
    is_fresh_ = false;
    error_code error;
    const size_t used = parser_->put(boost::asio::buffer(inbox_), error);
    inbox_.erase(0, used);
    if (error && error != http::error::need_more) return Fault(error);
    if (!has_head_) {
      if (parser_->is_header_done()) {
        has_head_ = true;
        return Found::kHead;
      }
    } else {
      body_bytes_ += used;
      if (parser_->is_done()) return Found::kMessage;
    }
    if (used == 0) {
      const bool is_endless = inbox_.size() > limits_.max_header_bytes + kMaxUnparsedBytes;
      return is_endless ? Fault(http::error::header_limit) : Found::kNothing;
    }
  }
  return Found::kNothing;
}

RequestReader::Found RequestReader::Fault(error_code error) {
  int status = 400;
  if (error == http::error::header_limit || error == http::error::buffer_overflow) status = 431;
  if (error == http::error::body_limit) status = 413;
  fault_ = {status, std::string(ReasonPhrase(status))};
  return Found::kFault;
}

RequestHead RequestReader::TakeHead() {
  const Message& message = parser_->get();
  RequestHead head = {.is_version_10 = message.version() == 10,
                      .keeps_alive = message.keep_alive(),
                      .has_body = !parser_->is_done()};
  Request& request = head.request;
  request.method = std::string(message.method_string());
  for (const auto& field : message) {
    request.headers.emplace_back(std::string(field.name_string()), std::string(field.value()));
  }
  head.fault = FindFault(message, request);
  if (head.fault) return head;

  const std::string_view target(message.target().data(), message.target().size());
  const bool is_asterisk = request.method == "OPTIONS" && target == "*";
  Result<Target> parsed = ParseTarget(is_asterisk ? "/" : target);
  if (!parsed.ok()) {
    head.fault = RequestFault{400, parsed.status().message()};
    return head;
  }
  request.path = std::move(parsed->path);
  request.query = std::move(parsed->query);
  head.expects_continue = EqualsIgnoringCase(request.header("Expect"), "100-continue");
  if (const auto length = parser_->content_length()) {
    head.body_bytes = static_cast<size_t>(*length);
  }
  parser_->eager(true);
  return head;
}

}  // namespace ingot::server
