// One request after the other out of a connection's bytes, within limits.
#pragma once

#include <boost/beast/http.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "server/http.h"

namespace ingot::server {

struct RequestFault {
  int status = 0;
  std::string message;
};

// What stands before the body.
struct RequestHead {
  Request request;  // method and headers; path and query when there is no fault
  bool is_version_10 = false;
  bool keeps_alive = false;
  bool has_body = false;
  bool expects_continue = false;
  std::optional<size_t> body_bytes;   // unset: chunked
  std::optional<RequestFault> fault;  // the connection ends with its answer
};

class RequestReader {
 public:
  struct Limits {
    uint32_t max_header_bytes = 0;  // 431
    size_t max_body_bytes = 0;      // 413
  };
  enum class Found : uint8_t {
    kNothing,  // more bytes are needed
    kHead,     // once a request: TakeHead is called next
    kMessage,  // the body is there: TakeBody
    kFault,    // what came is no HTTP, or beyond a limit: fault()
  };

  explicit RequestReader(const Limits& limits) : limits_(limits) {}

  // The next request. Bytes that came before their turn stay.
  void Begin();
  void Append(std::string_view bytes) { inbox_.append(bytes); }
  Found Next();

  RequestHead TakeHead();
  std::string TakeBody() { return std::move(parser_->get().body()); }
  const RequestFault& fault() const { return fault_; }
  std::string method() const { return std::string(parser_->get().method_string()); }

  bool is_fresh() const { return is_fresh_; }  // no byte of the request has come
  size_t body_bytes() const { return body_bytes_; }
  size_t waiting_bytes() const { return inbox_.size(); }

 private:
  Found Fault(boost::system::error_code error);

  const Limits limits_;
  std::optional<boost::beast::http::request_parser<boost::beast::http::string_body>> parser_;
  std::string inbox_;  // not parsed yet
  bool is_fresh_ = true, has_head_ = false;
  size_t body_bytes_ = 0;
  RequestFault fault_;
};

}  // namespace ingot::server
