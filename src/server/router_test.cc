#include "server/router.h"

#include <gtest/gtest.h>

namespace ingot::server {
namespace {

using namespace std::string_literals;

class FakeResponder : public Responder {
 public:
  void Send(Response response) override { responses.push_back(std::move(response)); }
  std::shared_ptr<EventStream> Stream(Headers, std::function<void()>) override { return nullptr; }
  void OnDisconnect(std::function<void()>) override {}
  std::vector<Response> responses;
};

Router TestRouter() {
  Router router;
  const Handler echo = [](const Request& request, const Json& body, ResponderPtr responder) {
    responder->Send(
        JsonResponse({{"body", body}, {"params", request.params}, {"query", request.query}}));
  };
  router.Add({.method = "GET", .pattern = "/jobs/{id}", .handler = echo});
  router.Add(
      {.method = "GET", .pattern = "/jobs/next", .handler = [](auto&, auto&, auto responder) {
         responder->Send(JsonResponse("next"));
       }});
  router.Add(
      {.method = "GET",
       .pattern = "/progress",
       .query =
           Schema{
               .name = "Query",
               .fields = {{.name = "skip", .type = FieldType::kBoolean, .default_value = false}}},
       .handler = echo});
  router.Add(
      {.method = "POST",
       .pattern = "/txt2img",
       .body = Schema{.name = "Body", .fields = {{.name = "steps", .type = FieldType::kInteger}}},
       .handler = echo});
  router.Add(
      {.method = "POST",
       .pattern = "/v1/images",
       .tag = "openai",
       .body = Schema{.name = "Image", .fields = {{.name = "n", .type = FieldType::kInteger}}},
       .handler = echo});
  router.Add({.method = "POST", .pattern = "/bug", .handler = [](auto&, const Json&, auto) {
                (void)Json(1).at("key");
              }});
  router.Add({.method = "GET", .pattern = "/", .handler = echo});
  return router;
}

Response Ask(const std::string& method, const std::string& path, const std::string& body = "",
             std::map<std::string, std::string> query = {}) {
  const auto responder = std::make_shared<FakeResponder>();
  TestRouter().Handle({.method = method, .path = path, .query = std::move(query), .body = body},
                      responder);
  EXPECT_EQ(responder->responses.size(), 1u);
  return responder->responses.at(0);
}

TEST(RouterTest, AnUnknownPathIs404InForgesWords) {
  const Response response = Ask("GET", "/nothing");
  EXPECT_EQ(response.status, 404);
  EXPECT_EQ(response.body, "{\"detail\":\"Not Found\"}");
}

TEST(RouterTest, AWrongMethodIs405WithAllow) {
  const Response response = Ask("GET", "/txt2img");
  EXPECT_EQ(response.status, 405);
  EXPECT_EQ(response.headers.at(0), std::pair("Allow"s, "POST, OPTIONS"s));
}

TEST(RouterTest, LiteralsComeBeforeParameters) {
  EXPECT_EQ(Ask("GET", "/jobs/next").body, "\"next\"");
  EXPECT_EQ(Json::parse(Ask("GET", "/jobs/7").body)["params"]["id"], "7");
  EXPECT_EQ(Ask("GET", "/jobs/7/more").status, 404);
  EXPECT_EQ(Ask("GET", "/jobs//").status, 404);
}

TEST(RouterTest, ATrailingSlashIsNothing) {
  EXPECT_EQ(Ask("POST", "/txt2img/").status, 200);
  EXPECT_EQ(Ask("GET", "/").status, 200);
}

TEST(RouterTest, ABodyThatIsNothingIsAnEmptyObject) {
  for (const char* body : {"", " \n", "\"\"", "null", "{}"}) {
    EXPECT_EQ(Ask("POST", "/txt2img", body).status, 200) << body;
  }
}

TEST(RouterTest, FaultsAreToldInForgesForm) {
  const Response response = Ask("POST", "/txt2img", R"({"steps":"many"})");
  EXPECT_EQ(response.status, 422);
  EXPECT_EQ(Json::parse(response.body),
            Json::parse(R"({"detail":[{"type":"int_parsing","loc":["body","steps"],
                "msg":"steps: expected a whole number, found \"many\"","input":"many"}],
                "error":"RequestValidationError",
                "errors":"steps: expected a whole number, found \"many\"","body":""})"));
}

TEST(RouterTest, WhatIsNoJsonIs422) {
  for (const char* body : {"{", "{\"steps\":\xff}", "[", "\"text\"", "[1]"}) {
    EXPECT_EQ(Ask("POST", "/txt2img", body).status, 422) << body;
  }
}

TEST(RouterTest, OpenAiRoutesAnswerInOpenAisForm) {
  const Response response = Ask("POST", "/v1/images", R"({"n":"x"})");
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(Json::parse(response.body)["error"]["param"], "n");
}

TEST(RouterTest, TheQueryIsValidatedToo) {
  EXPECT_EQ(Json::parse(Ask("GET", "/progress").body)["query"]["skip"], "false");
  EXPECT_EQ(Json::parse(Ask("GET", "/progress", "", {{"skip", "1"}}).body)["query"]["skip"],
            "true");
  EXPECT_EQ(Ask("GET", "/progress", "", {{"skip", "maybe"}}).status, 422);
}

TEST(RouterTest, ABugOfAHandlerIs500AndTellsNothing) {
  const Response response = Ask("POST", "/bug");
  EXPECT_EQ(response.status, 500);
  EXPECT_EQ(Json::parse(response.body)["detail"], "Internal Server Error");
}

TEST(RouterTest, HeadFindsGet) { EXPECT_NE(TestRouter().Find("HEAD", "/progress").route, nullptr); }

TEST(RouterTest, StatusesBecomeHttpStatuses) {
  EXPECT_EQ(ErrorResponse(OutOfBudget("x")).status, 422);
  EXPECT_EQ(ErrorResponse(NotFound("x")).status, 404);
  EXPECT_EQ(ErrorResponse(NotFound("x"), 422).status, 422);
  EXPECT_EQ(ErrorResponse(Unavailable("queue: full")).status, 503);
  EXPECT_EQ(ErrorResponse(Unavailable("queue: No space left on device")).status, 507);
  EXPECT_EQ(
      ErrorResponse(InvalidArgument("steps: wrong")).body,
      R"({"detail":"steps: wrong","error":"InvalidArgument","errors":"steps: wrong","body":""})");
}

}  // namespace
}  // namespace ingot::server
