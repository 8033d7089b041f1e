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

// {"detail": message, "error": code name, "errors": message, "body": ""}: 422 for what the caller
// can mend (kInvalidArgument, kUnsupported, kOutOfBudget), 507 for a full disk, 503 …; by status
// code. `not_found` is the status of kNotFound: 404 where the path names what is missing (a job),
// 422 where the body does (a model).
Response ErrorResponse(const Status& status, int not_found = 404);

// 422 {"detail":[{"type","loc":[part, field],"msg","input"}], "error", "errors", "body": ""};
// `part` is "body" or "query".
Response FaultsResponse(const std::vector<FieldFault>& faults, std::string_view part = "body");

// As clients of OpenAI read it: {"error":{"message","type","param","code"}}. What the router itself
// answers on a route of tag "openai" has this form.
Response OpenAiErrorResponse(std::string_view message, int status = 400,
                             std::string_view param = {});

// Any answer in words alone, in the form of ErrorResponse.
Response PlainErrorResponse(int status, std::string_view detail);

}  // namespace ingot::server
