// The table of routes: what is asked of each request before its handler sees it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"
#include "server/schema.h"

namespace ingot::server {

// `body`: the validated values (Json::object() where the route has no schema).
using Handler =
    std::function<void(const Request& request, const Json& body, ResponderPtr responder)>;

struct Route {
  std::string method;   // "GET", "POST", "PUT", "DELETE", "PATCH"
  std::string pattern;  // "/ingot/v1/jobs/{id}"
  std::string summary;
  std::string tag;                    // group in /docs: "sdapi", "ingot", "openai", "internal"
  std::optional<Schema> body = {};    // of the JSON request; unset: any body is ignored
  std::optional<Schema> query = {};   // always lenient: all values are text
  std::optional<Schema> answer = {};  // for /openapi.json
  Handler handler;
  // State-changing calls are refused from foreign origins; reading ones are not. False for POSTs
  // that only ask (plan, png-info).
  bool changes_state = true;
  // Handlers that may block (SQLite, a question to a worker) run on the pool; others at once.
  bool may_block = true;
};

class Router {
 public:
  void Add(Route route);
  const std::vector<Route>& routes() const { return routes_; }

  struct Match {
    const Route* route = nullptr;  // null: none of that method
    bool path_exists = false;      // 405 instead of 404
    std::vector<std::string> methods;
    std::map<std::string, std::string> params;
  };
  // A trailing slash and an empty query are nothing; HEAD finds GET.
  Match Find(std::string_view method, std::string_view path) const;

  // Finds the route, parses and validates, calls the handler. 404 {"detail":"Not Found"}, 405 with
  // Allow, 422 with the faults.
  void Handle(Request request, ResponderPtr responder) const;

 private:
  std::vector<Route> routes_;
};

// {"detail": message, "error": code name, …}: 422 for what the caller can mend (kInvalidArgument,
// kNotFound of a model, kOutOfBudget), 404, 507 for a full disk, 503 …; by status code.
Response ErrorResponse(const Status& status);

}  // namespace ingot::server
