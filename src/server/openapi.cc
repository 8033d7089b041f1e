#include "server/openapi.h"

#include <algorithm>
#include <memory>
#include <mutex>

#include "server/docs_page.h"

namespace ingot::server {
namespace {

constexpr const char* kErrorSchema = "#/components/schemas/Error";

std::string OperationId(const Route& route) {
  std::string id = route.method;
  for (char& c : id) c = static_cast<char>(c + 32);  // methods are upper-case letters
  for (const char c : route.pattern) {
    const bool is_letter =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (is_letter) {
      id.push_back(c);
    } else if (id.back() != '_') {
      id.push_back('_');
    }
  }
  if (id.back() == '_') id.pop_back();
  return id;
}

Json Reference(const Schema& schema) { return {{"$ref", "#/components/schemas/" + schema.name}}; }

Json Parameters(const Route& route) {
  Json parameters = Json::array();
  for (size_t begin = route.pattern.find('{'); begin != std::string::npos;
       begin = route.pattern.find('{', begin + 1)) {
    const size_t end = route.pattern.find('}', begin);
    parameters.push_back({{"name", route.pattern.substr(begin + 1, end - begin - 1)},
                          {"in", "path"},
                          {"required", true},
                          {"schema", {{"type", "string"}, {"minLength", 1}}}});
  }
  if (!route.query) return parameters;
  Schema given = *route.query;
  for (Field& field : given.fields) field.is_required = true;  // a query holds no null
  const Json properties = OpenApiSchema(given)["properties"];
  for (const Field& field : route.query->fields) {
    Json schema = properties[field.name];
    schema.erase("description");
    parameters.push_back({{"name", field.name},
                          {"in", "query"},
                          {"required", field.is_required},
                          {"description", field.description},
                          {"schema", std::move(schema)}});
  }
  return parameters;
}

Json Operation(const Route& route) {
  Json operation = {{"operationId", OperationId(route)}, {"summary", route.summary}};
  if (!route.tag.empty()) operation["tags"] = {route.tag};
  if (Json parameters = Parameters(route); !parameters.empty()) {
    operation["parameters"] = std::move(parameters);
  }
  if (route.body) {
    const bool is_required = std::any_of(route.body->fields.begin(), route.body->fields.end(),
                                         [](const Field& field) { return field.is_required; });
    operation["requestBody"] = {
        {"required", is_required},
        {"content", {{"application/json", {{"schema", Reference(*route.body)}}}}}};
  }
  Json content = Json::object();
  if (route.answer) {
    content["application/json"] = {{"schema", Reference(*route.answer)}};
  } else {
    content["*/*"] = Json::object();
  }
  const Json error = {{"description", "What is wrong with the request, or with the server"},
                      {"content", {{"application/json", {{"schema", {{"$ref", kErrorSchema}}}}}}}};
  operation["responses"] = {{"2XX", {{"description", "Done"}, {"content", std::move(content)}}},
                            {"4XX", error},
                            {"5XX", error}};
  return operation;
}

std::string LoweredMethod(std::string method) {
  for (char& c : method) c = static_cast<char>(c + 32);
  return method;
}

// Made at the first request, when all routes are there: 100 KB that a handler on the I/O thread
// does not write anew each time.
struct Document {
  std::once_flag is_made;
  std::string text;
};

Response Page(std::string_view text, const char* type) {
  return {.status = 200, .content_type = type, .body = std::string(text), .headers = {}};
}

}  // namespace

Json OpenApi(const Router& router, bool has_auth) {
  std::vector<const Route*> routes;
  for (const Route& route : router.routes()) {
    if (route.tag != "page") routes.push_back(&route);  // files are no API
  }
  std::stable_sort(routes.begin(), routes.end(),
                   [](const Route* a, const Route* b) { return a->pattern < b->pattern; });
  Json paths = Json::object();
  // Of errors by hand ({"detail"}), of validation, and of OpenAI's form.
  Json schemas = {{"Error", {{"type", "object"}}}};
  for (const Route* route : routes) {
    paths[route->pattern][LoweredMethod(route->method)] = Operation(*route);
    for (const std::optional<Schema>& schema : {route->body, route->answer}) {
      if (schema) schemas[schema->name] = OpenApiSchema(*schema);
    }
  }
  Json json = {{"openapi", "3.1.0"},
               {"info",
                {{"title", "Ingot"},
                 {"description", "Pictures from text with Flux on the memory you have."},
                 {"version", INGOT_VERSION}}},
               {"paths", std::move(paths)},
               {"components", {{"schemas", std::move(schemas)}}}};
  if (has_auth) {
    json["components"]["securitySchemes"] = {{"basic", {{"type", "http"}, {"scheme", "basic"}}},
                                             {"bearer", {{"type", "http"}, {"scheme", "bearer"}}}};
    json["security"] = Json::array({{{"basic", Json::array()}}, {{"bearer", Json::array()}}});
  }
  return json;
}

void AddDocumentationRoutes(Router& router, bool has_auth) {
  router.Add({.method = "GET",
              .pattern = "/openapi.json",
              .summary = "This API as OpenAPI 3.1",
              .tag = "operations",
              .handler =
                  [&router, has_auth, document = std::make_shared<Document>()](
                      const Request&, const Json&, const ResponderPtr& responder) {
                    std::call_once(document->is_made,
                                   [&] { document->text = Dump(OpenApi(router, has_auth)); });
                    responder->Send({.body = document->text});
                  },
              .may_block = false});
  const auto add = [&](const char* pattern, const char* summary, std::string_view text,
                       const char* type) {
    router.Add({.method = "GET",
                .pattern = pattern,
                .summary = summary,
                .tag = "operations",
                .handler =
                    [text, type](const Request&, const Json&, const ResponderPtr& responder) {
                      responder->Send(Page(text, type));
                    },
                .may_block = false});
  };
  add("/docs", "This API as a page", kDocsPage, "text/html; charset=utf-8");
  add("/docs/page.js", "Script of the page", kDocsScript, "text/javascript; charset=utf-8");
  add("/docs/page.css", "Style of the page", kDocsStyle, "text/css; charset=utf-8");
}

}  // namespace ingot::server
