// One request and its answer, as the routes see them: no socket, no thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/json.h"

namespace ingot::server {

using Headers = std::vector<std::pair<std::string, std::string>>;

// Of ASCII letters, as names of headers are compared.
bool EqualsIgnoringCase(std::string_view a, std::string_view b);

struct Request {
  std::string method;                         // "GET"; HEAD comes as GET
  std::string path;                           // decoded, without a trailing slash
  std::map<std::string, std::string> params;  // of the route's pattern: "/jobs/{id}"
  std::map<std::string, std::string> query;
  Headers headers;
  std::string body;
  std::string client;  // user of the credentials, else the address
  std::string origin;  // "http://127.0.0.1:7860": of the server, as this client called it

  // Case-insensitive; empty when absent.
  std::string_view header(std::string_view name) const;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  Headers headers;
};

Response JsonResponse(const Json& json, int status = 200);

// Server-sent events to one client. Thread-safe. A client that does not take its events within
// bounds is disconnected; it comes again with Last-Event-ID.
class EventStream {
 public:
  virtual ~EventStream() = default;
  virtual void Send(std::string_view id, std::string_view event, std::string_view data) = 0;
  virtual void Close() = 0;
};

// The answer to one request; exactly one of Send and Stream is called, once, from any thread,
// now or later.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void Send(Response response) = 0;
  // Begins an event stream. `on_close` runs once, when the client has gone.
  virtual std::shared_ptr<EventStream> Stream(Headers headers, std::function<void()> on_close) = 0;
  // Runs once if the client goes before the answer; may be called before it waits.
  virtual void OnDisconnect(std::function<void()> callback) = 0;
};
using ResponderPtr = std::shared_ptr<Responder>;

}  // namespace ingot::server
