// The web page: its files as they are, from memory.
#include "server/routes.h"
#include "server/web_files.h"

namespace ingot::server {
namespace {

std::string_view TypeOf(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".svg")) return "image/svg+xml";
  return "text/javascript; charset=utf-8";
}

// Asked for each time and sent only when it has changed: a new Ingot is seen at once.
Response FileResponse(const WebFile& file, const Request& request) {
  const std::string tag = fmt::format("\"{}\"", WebDigest().substr(0, 16));
  Response response{.content_type = std::string(TypeOf(file.name)),
                    .headers = {{"Cache-Control", "no-cache"}, {"ETag", tag}}};
  if (request.header("If-None-Match") == tag) {
    response.status = 304;
  } else {
    response.body = file.bytes;
  }
  return response;
}

Route FileRoute(std::string pattern, std::string summary,
                std::function<Response(const Request&)> answer) {
  return {.method = "GET",
          .pattern = std::move(pattern),
          .summary = std::move(summary),
          .tag = "page",
          .handler = [answer = std::move(answer)](
                         const Request& request, const Json&,
                         const ResponderPtr& responder) { responder->Send(answer(request)); },
          .changes_state = false,
          .may_block = false};
}

bool AcceptsHtml(const Request& request) {
  return request.header("Accept").find("text/html") != std::string_view::npos;
}

}  // namespace

void AddPageRoutes(Router& router) {
  for (const WebFile& file : WebFiles()) {
    if (file.name == "index.html") {
      // aiyabot and others that only look whether someone is there ask for no HTML.
      router.Add(FileRoute(
          "/", "The web page; to programs, who is there", [&file](const Request& request) {
            if (AcceptsHtml(request)) return FileResponse(file, request);
            return JsonResponse({{"name", "ingot"}, {"version", INGOT_VERSION}, {"docs", "/docs"}});
          }));
    } else {
      router.Add(
          FileRoute(fmt::format("/web/{}", file.name), "A file of the web page",
                    [&file](const Request& request) { return FileResponse(file, request); }));
    }
  }
}

}  // namespace ingot::server
