#include "server/router.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

namespace ingot::server {
namespace {

std::vector<std::string_view> Segments(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  std::vector<std::string_view> segments;
  size_t begin = 0;
  for (size_t end = 0; end <= path.size(); ++end) {
    if (end == path.size() || path[end] == '/') {
      segments.push_back(path.substr(begin, end - begin));
      begin = end + 1;
    }
  }
  return segments;
}

bool IsParam(std::string_view segment) {
  return segment.starts_with('{') && segment.ends_with('}');
}

bool Matches(const std::vector<std::string_view>& pattern,
             const std::vector<std::string_view>& path) {
  return std::equal(pattern.begin(), pattern.end(), path.begin(), path.end(),
                    [](std::string_view want, std::string_view got) {
                      return IsParam(want) ? !got.empty() : want == got;
                    });
}

size_t NumParams(const std::vector<std::string_view>& pattern) {
  return static_cast<size_t>(std::count_if(pattern.begin(), pattern.end(), IsParam));
}

std::string_view CodeName(StatusCode code) {
  switch (code) {
    case StatusCode::kOk:
      return "Ok";
    case StatusCode::kInvalidArgument:
      return "InvalidArgument";
    case StatusCode::kNotFound:
      return "NotFound";
    case StatusCode::kCorruption:
      return "Corruption";
    case StatusCode::kUnsupported:
      return "Unsupported";
    case StatusCode::kNotFinite:
      return "NotFinite";
    case StatusCode::kOutOfBudget:
      return "OutOfBudget";
    case StatusCode::kCancelled:
      return "Cancelled";
    case StatusCode::kUnavailable:
      return "Unavailable";
  }
  return "";
}

int HttpStatus(const Status& status, int not_found) {
  switch (status.code()) {
    case StatusCode::kInvalidArgument:
    case StatusCode::kUnsupported:
    case StatusCode::kOutOfBudget:
      return 422;
    case StatusCode::kNotFound:
      return not_found;
    case StatusCode::kCancelled:
      return 409;
    case StatusCode::kUnavailable:
      return status.message().find(std::strerror(ENOSPC)) != std::string::npos ? 507 : 503;
    case StatusCode::kOk:
    case StatusCode::kCorruption:
    case StatusCode::kNotFinite:
      break;
  }
  return 500;
}

// A1111 answers with all four keys, Forge with the first: clients of both find theirs.
Json ErrorBody(Json detail, std::string_view error, std::string_view message) {
  return {{"detail", std::move(detail)}, {"error", error}, {"errors", message}, {"body", ""}};
}

Response Refusal(const Route& route, const std::vector<FieldFault>& faults, std::string_view part) {
  if (route.tag != "openai") return FaultsResponse(faults, part);
  return OpenAiErrorResponse(faults.front().message, 400, faults.front().field);
}

// What actions of clients of Forge really send: nothing, or "" (text-generation-webui).
bool IsNothing(std::string_view body, bool is_lenient) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t begin = body.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return true;
  body = body.substr(begin, body.find_last_not_of(kSpace) + 1 - begin);
  return is_lenient && (body == "\"\"" || body == "null");
}

Result<Json> BodyOf(const Request& request, bool is_lenient) {
  if (IsNothing(request.body, is_lenient)) return Json::object();
  return ParseJson(request.body);
}

Json QueryOf(const Request& request) {
  Json json = Json::object();
  for (const auto& [name, value] : request.query) json[name] = value;
  return json;
}

}  // namespace

void Router::Add(Route route) {
  INGOT_CHECK(route.pattern.starts_with('/') && route.handler != nullptr);
  const std::vector<std::string_view> segments = Segments(route.pattern);
  for (const Route& other : routes_) {
    INGOT_CHECK(other.method != route.method || other.pattern != route.pattern);
  }
  // Literal patterns before those with parameters: "/jobs/next" is not the job "next".
  const auto place = std::find_if(routes_.begin(), routes_.end(), [&](const Route& other) {
    return NumParams(Segments(other.pattern)) > NumParams(segments);
  });
  routes_.insert(place, std::move(route));
}

Router::Match Router::Find(std::string_view method, std::string_view path) const {
  if (method == "HEAD") method = "GET";
  const std::vector<std::string_view> segments = Segments(path);
  Match match;
  for (const Route& route : routes_) {
    const std::vector<std::string_view> pattern = Segments(route.pattern);
    if (!Matches(pattern, segments)) continue;
    match.path_exists = true;
    if (std::find(match.methods.begin(), match.methods.end(), route.method) ==
        match.methods.end()) {
      match.methods.push_back(route.method);
    }
    if (route.method != method || match.route != nullptr) continue;
    match.route = &route;
    for (size_t i = 0; i < pattern.size(); ++i) {
      if (!IsParam(pattern[i])) continue;
      match.params.emplace(pattern[i].substr(1, pattern[i].size() - 2), segments[i]);
    }
  }
  return match;
}

void Router::Handle(Request request, ResponderPtr responder) const {
  Match match = Find(request.method, request.path);
  if (match.route == nullptr) {
    if (!match.path_exists) return responder->Send(JsonResponse({{"detail", "Not Found"}}, 404));
    if (std::find(match.methods.begin(), match.methods.end(), "GET") != match.methods.end()) {
      match.methods.push_back("HEAD");
    }
    match.methods.push_back("OPTIONS");
    Response response = JsonResponse({{"detail", "Method Not Allowed"}}, 405);
    response.headers.emplace_back("Allow", fmt::format("{}", fmt::join(match.methods, ", ")));
    return responder->Send(std::move(response));
  }
  const Route& route = *match.route;
  request.params = std::move(match.params);
  try {
    if (route.query) {
      Schema schema = *route.query;
      schema.is_lenient = true;
      const Validated query = Validate(schema, QueryOf(request));
      if (!query.faults.empty()) return responder->Send(Refusal(route, query.faults, "query"));
      // Handlers read the values from the request: those with a default are there.
      for (const auto& [name, value] : query.values.items()) {
        request.query[name] = value.is_string() ? value.get<std::string>() : Dump(value);
      }
    }
    Json body = Json::object();
    if (route.body) {
      Result<Json> json = BodyOf(request, route.body->is_lenient);
      if (!json.ok()) {
        return responder->Send(
            Refusal(route, {{"", json.status().message(), nullptr, "json_invalid"}}, "body"));
      }
      Validated validated = Validate(*route.body, *json);
      if (!validated.faults.empty()) {
        return responder->Send(Refusal(route, validated.faults, "body"));
      }
      body = std::move(validated.values);
    }
    route.handler(request, body, responder);
  } catch (const std::exception& error) {
    // A handler took JSON for what it is not: a bug, but one request's, not the server's.
    std::fprintf(stderr, "ingot: bug: %s %s: %s\n", route.method.c_str(), route.pattern.c_str(),
                 error.what());
    responder->Send(PlainErrorResponse(500, "Internal Server Error"));
  }
}

Response ErrorResponse(const Status& status, int not_found) {
  return JsonResponse(ErrorBody(status.message(), CodeName(status.code()), status.message()),
                      HttpStatus(status, not_found));
}

Response FaultsResponse(const std::vector<FieldFault>& faults, std::string_view part) {
  Json detail = Json::array();
  std::vector<std::string> messages;
  for (const FieldFault& fault : faults) {
    Json place = Json::array({part});
    if (!fault.field.empty()) place.push_back(fault.field);
    detail.push_back({{"type", fault.type},
                      {"loc", std::move(place)},
                      {"msg", fault.message},
                      {"input", fault.input}});
    messages.push_back(fault.message);
  }
  return JsonResponse(ErrorBody(std::move(detail), "RequestValidationError",
                                fmt::format("{}", fmt::join(messages, "; "))),
                      422);
}

Response OpenAiErrorResponse(std::string_view message, int status, std::string_view param) {
  return JsonResponse({{"error",
                        {{"message", message},
                         {"type", status < 500 ? "invalid_request_error" : "server_error"},
                         {"param", param.empty() ? Json() : Json(param)},
                         {"code", nullptr}}}},
                      status);
}

Response PlainErrorResponse(int status, std::string_view detail) {
  return JsonResponse(ErrorBody(detail, "HTTPException", detail), status);
}

}  // namespace ingot::server
