#include "api_client.h"

namespace ingot::server {
namespace {

TEST(Openai, PicturesComeAsBase64OrAddress) {
  ApiClient client;
  const auto base64 = client.Begin("POST", "/v1/images/generations",
                                   R"({"prompt":"p","n":2,"size":"128x64","model":"ingot-demo"})");
  client.jobs.Finish("job1", JobState::kDone, {TestPicture(), TestPicture()});
  const Json body = Json::parse(base64->Wait().body);
  EXPECT_EQ(body["data"].size(), 2u);
  EXPECT_TRUE(body["data"][0]["b64_json"].is_string());
  EXPECT_EQ(body["size"], "128x64");
  EXPECT_EQ(client.jobs.submissions[0].request["batch"], 2);
  EXPECT_EQ(client.jobs.submissions[0].request["width"], 128);

  const auto url = client.Begin("POST", "/v1/images/generations",
                                R"({"prompt":"p","size":"auto","response_format":"url"})");
  client.jobs.Finish("job2", JobState::kDone, {TestPicture()});
  EXPECT_EQ(Json::parse(url->Wait().body)["data"][0]["url"],
            "http://127.0.0.1:7860/ingot/v1/jobs/job2/images/0");
  EXPECT_FALSE(client.jobs.submissions[1].request.contains("width"));
}

TEST(Openai, ErrorsHaveItsForm) {
  ApiClient client;
  const Json kBad[] = {{{"n", 1}},
                       {{"prompt", "p"}, {"size", "big"}},
                       {{"prompt", "p"}, {"model", "dall-e-9"}},
                       {{"prompt", "p"}, {"n", 11}},
                       {{"prompt", "p"}, {"background", "transparent"}},
                       {{"prompt", "<lora:x:1>"}},
                       {{"prompt", "p"}, {"sampler", "x"}}};
  for (const Json& body : kBad) {
    const Response response = client.Ask("POST", "/v1/images/generations", body);
    EXPECT_TRUE(response.status == 400 || response.status == 404) << Dump(body);
    const Json error = Json::parse(response.body)["error"];
    EXPECT_FALSE(error["message"].get<std::string>().empty());
    EXPECT_EQ(error["type"], "invalid_request_error");
  }
  EXPECT_EQ(client.Ask("POST", "/v1/images/edits").status, 400);
}

TEST(Openai, AStreamHasPartialImagesThenThePicture) {
  ApiClient client;
  const auto answered = client.Begin("POST", "/v1/images/generations",
                                     R"({"prompt":"p","stream":true,"partial_images":1})");
  client.jobs.state.running = RunningJob{
      .id = "job1", .phase = "sampling", .step = 3, .num_steps = 4, .preview_png = "png"};
  client.jobs.Emit({.job_id = "job1", .type = "preview", .data = {{"step", 3}}});
  client.jobs.Emit({.job_id = "job1", .type = "preview", .data = {{"step", 3}}});
  client.jobs.Finish("job1", JobState::kDone, {TestPicture()});
  answered->WaitForClose();
  const auto& events = answered->stream->events;
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].type, "image_generation.partial_image");
  EXPECT_EQ(Json::parse(events[0].data)["b64_json"], "cG5n");
  EXPECT_EQ(events[1].type, "image_generation.completed");
  EXPECT_EQ(Json::parse(events[1].data)["type"], "image_generation.completed");
  answered->CloseStream();
}

TEST(Openai, ModelsAreListed) {
  ApiClient client;
  const Json list = client.Get("/v1/models");
  EXPECT_EQ(list["object"], "list");
  EXPECT_EQ(list["data"][0]["id"], "ingot-demo");
}

}  // namespace
}  // namespace ingot::server
