#include <fstream>

#include "api_client.h"
#include "base/base64.h"
#include "formats/png.h"

namespace ingot::server {

std::string TestPicture() {
  const auto bytes = EncodePng({.width = 1,
                                .height = 1,
                                .pixels = {1, 2, 3},
                                .texts = {{"parameters", "p\nSteps: 2, Sampler: Euler, Seed: 1"}}});
  const std::string path = testing::TempDir() + "ingot-api-test.png";
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char*>(bytes->data()),
             static_cast<std::streamsize>(bytes->size()));
  return path;
}

namespace {

TEST(Sdapi, TheAnswerComesWhenTheJobHasEnded) {
  ApiClient client;
  const auto answered =
      client.Begin("POST", "/sdapi/v1/txt2img", R"({"prompt":"p","seed":5,"n_iter":2,"steps":2})");
  EXPECT_FALSE(answered->has_answer());
  client.jobs.Finish("job1", JobState::kDone, {TestPicture(), TestPicture()});
  const Response response = answered->Wait();
  EXPECT_EQ(response.status, 200);
  ASSERT_EQ(response.headers.size(), 1u);
  EXPECT_EQ(response.headers[0], std::pair(std::string("X-Job-Id"), std::string("job1")));
  const Json body = Json::parse(response.body);
  EXPECT_EQ(body["images"].size(), 2u);
  EXPECT_TRUE(DecodeBase64(body["images"][0].get<std::string>())->starts_with("\x89PNG"));
  EXPECT_EQ(body["parameters"]["steps"], 2);
  EXPECT_EQ(body["parameters"]["enable_hr"], false);
  EXPECT_TRUE(body["parameters"].contains("styles"));
  EXPECT_EQ(body["plan"]["peak_ram_bytes"], 1);
  const Json info = Json::parse(body["info"].get<std::string>());
  std::string keys;
  for (const auto& [key, value] : info.items()) keys += key + " ";
  EXPECT_EQ(keys,
            "prompt all_prompts negative_prompt all_negative_prompts seed all_seeds subseed "
            "all_subseeds subseed_strength width height sampler_name cfg_scale steps batch_size "
            "restore_faces face_restoration_model sd_model_name sd_model_hash sd_vae_name "
            "sd_vae_hash seed_resize_from_w seed_resize_from_h denoising_strength "
            "extra_generation_params index_of_first_image infotexts styles job_timestamp clip_skip "
            "is_using_inpainting_conditioning version ");
  EXPECT_EQ(info["all_seeds"], Json::array({5, 6}));
  EXPECT_EQ(info["all_prompts"], Json::array({"p", "p"}));
  EXPECT_EQ(info["infotexts"].size(), 2u);
}

TEST(Sdapi, SendImagesFalseSendsNone) {
  ApiClient client;
  const auto answered =
      client.Begin("POST", "/sdapi/v1/txt2img", R"({"prompt":"p","send_images":false})");
  client.jobs.Finish("job1", JobState::kDone, {TestPicture()});
  EXPECT_EQ(Json::parse(answered->Wait().body)["images"], Json::array());
}

TEST(Sdapi, AnInterruptedJobIsNoError) {
  ApiClient client;
  const auto answered = client.Begin("POST", "/sdapi/v1/txt2img", R"({"prompt":"p"})");
  client.jobs.Finish("job1", JobState::kCancelled);
  const Response response = answered->Wait();
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(Json::parse(response.body)["images"], Json::array());
}

TEST(Sdapi, AJobThatDoesNotFitIsRefusedWithTheReason) {
  ApiClient client;
  client.jobs.submit_status = OutOfBudget("needs 2 GiB; --batch 1 would fit");
  const Response response = client.Ask("POST", "/sdapi/v1/txt2img", {{"prompt", "p"}});
  EXPECT_EQ(response.status, 422);
  EXPECT_EQ(Json::parse(response.body)["detail"], "needs 2 GiB; --batch 1 would fit");
}

TEST(Sdapi, AQueuedJobGoesWithItsClientAndARunningOneStays) {
  ApiClient client;
  const auto queued = client.Begin("POST", "/sdapi/v1/txt2img", R"({"prompt":"p"})");
  const auto running = client.Begin("POST", "/sdapi/v1/txt2img", R"({"prompt":"p"})");
  client.jobs.SetState("job2", JobState::kRunning);
  queued->Disconnect();
  running->Disconnect();
  const auto last = client.Begin("POST", "/sdapi/v1/txt2img", R"({"prompt":"p"})");
  client.jobs.Finish("job3", JobState::kDone, {TestPicture()});
  EXPECT_EQ(last->Wait().status, 200);  // behind the two in the waiter's queue
  EXPECT_EQ(client.jobs.cancelled, std::vector<std::string>{"job1"});
  EXPECT_FALSE(queued->has_answer());
}

TEST(Sdapi, ActionsAnswerJson) {
  ApiClient client;
  for (const char* action : {"interrupt", "skip", "unload-checkpoint", "reload-checkpoint",
                             "refresh-checkpoints", "refresh-vae", "refresh-loras", "options"}) {
    for (const char* body : {"", "\"\"", "{}"}) {
      const Response response =
          client.Begin("POST", std::string("/sdapi/v1/") + action, body)->Wait();
      EXPECT_EQ(response.status, 200) << action;
      EXPECT_EQ(response.body, "{}") << action;
    }
  }
  EXPECT_EQ(client.jobs.num_forgotten, 3);
  EXPECT_EQ(client.jobs.num_interrupted, 6);
}

TEST(Sdapi, ListsHaveWhatClientsRead) {
  ApiClient client;
  EXPECT_EQ(client.Get("/sdapi/v1/upscalers")[0]["name"], "None");
  EXPECT_EQ(client.Get("/sdapi/v1/samplers")[0]["aliases"], Json::array({"k_dpmpp_2m"}));
  EXPECT_EQ(client.Get("/sdapi/v1/schedulers")[0]["label"], "Automatic");
  const Json models = client.Get("/sdapi/v1/sd-models");
  ASSERT_EQ(models.size(), 2u);
  EXPECT_EQ(models[0]["title"], "ingot-demo.gguf [aaaaaaaaaa]");
  EXPECT_EQ(models[1]["model_name"], "flux_schnell-Q4_0");
  EXPECT_TRUE(models[1]["hash"].is_null());
  EXPECT_EQ(client.Get("/sdapi/v1/sd-vae").size(), 1u);
  EXPECT_EQ(client.Get("/sdapi/v1/sd-modules").size(), 3u);
  EXPECT_EQ(client.Get("/sdapi/v1/scripts")["img2img"], Json::array());
  EXPECT_TRUE(client.Get("/sdapi/v1/memory")["cuda"].is_object());
  for (const char* key :
       {"sd_model_checkpoint", "sd_checkpoint_hash", "samples_format", "sd_vae",
        "CLIP_stop_at_last_layers", "forge_preset", "forge_additional_modules",
        "img2img_color_correction", "inpainting_mask_weight", "use_scale_latent_for_hires_fix"}) {
    EXPECT_FALSE(client.Get("/sdapi/v1/options")[key].is_null()) << key;
  }
  EXPECT_EQ(client.Get("/controlnet/version")["version"], 3);
}

TEST(Sdapi, WhatIsNotThereIsRefusedByName) {
  ApiClient client;
  for (const char* name : {"img2img", "extra-single-image", "extra-batch-images", "interrogate"}) {
    const Response response = client.Ask("POST", std::string("/sdapi/v1/") + name);
    EXPECT_EQ(response.status, 422);
    EXPECT_NE(response.body.find("not there yet"), std::string::npos);
  }
  EXPECT_EQ(client.Ask("POST", "/sdapi/v1/server-kill").status, 404);
  EXPECT_EQ(client.Ask("POST", "/controlnet/detect").status, 422);
}

TEST(Sdapi, ProgressIsZeroWhenNothingIsQueuedOrRuns) {
  ApiClient client;
  const Json idle = client.Get("/sdapi/v1/progress");
  EXPECT_EQ(idle["progress"], 0.0);
  EXPECT_EQ(idle["state"]["job_count"], 0);
  EXPECT_EQ(idle["state"]["job_timestamp"], "0");
  client.jobs.state.running =
      RunningJob{.id = "x", .phase = "sampling", .step = 5, .num_steps = 10, .preview_png = "png"};
  const Json busy = client.Get("/sdapi/v1/progress");
  EXPECT_DOUBLE_EQ(busy["progress"].get<double>(), 0.51);
  EXPECT_EQ(busy["state"]["sampling_step"], 5);
  EXPECT_EQ(busy["current_image"], "cG5n");
  EXPECT_TRUE(client.Get("/sdapi/v1/progress?skip_current_image=true")["current_image"].is_null());
}

TEST(Internal, ATaskIsFollowedByItsForcedId) {
  ApiClient client;
  const auto waiting = client.Begin("POST", "/sdapi/v1/txt2img",
                                    R"json({"prompt":"p","force_task_id":"task(a)"})json");
  client.jobs.state.num_queued = 1;
  EXPECT_EQ(client.Get("/internal/pending-tasks"), (Json{{"size", 1}, {"tasks", {"task(a)"}}}));
  const Json ask = {{"id_task", "task(a)"}, {"id_live_preview", -1}, {"live_preview", true}};
  EXPECT_EQ(Json::parse(client.Ask("POST", "/internal/progress", ask).body)["textinfo"],
            "In queue: 1/1");
  client.jobs.SetState("job1", JobState::kRunning);
  client.jobs.state.running = RunningJob{.id = "job1",
                                         .phase = "sampling",
                                         .step = 1,
                                         .num_steps = 4,
                                         .preview_png = "png",
                                         .preview_step = 1};
  const Json active = Json::parse(client.Ask("POST", "/internal/progress", ask).body);
  EXPECT_EQ(active["active"], true);
  EXPECT_EQ(active["progress"], 0.25);
  EXPECT_EQ(active["live_preview"], "data:image/png;base64,cG5n");
  client.jobs.state = {};
  client.jobs.Finish("job1", JobState::kDone, {TestPicture()});
  EXPECT_EQ(Json::parse(client.Ask("POST", "/internal/progress", ask).body)["completed"], true);
  (void)waiting->Wait();
}

TEST(IngotApi, ABriefListHasNoPlans) {
  ApiClient client;
  const Json request = {
      {"prompt", "a red house"}, {"width", 64}, {"files", {{"diffusion", "/m/flux.1-dev.gguf"}}}};
  ASSERT_TRUE(client.jobs.Submit({.request = request}).ok());
  const Json job = client.Get("/ingot/v1/jobs?fields=brief")["jobs"][0];
  EXPECT_EQ(job["prompt"], "a red house");
  EXPECT_EQ(job["model"], "flux.1-dev");
  EXPECT_EQ(job["width"], 64);
  EXPECT_FALSE(job.contains("plan"));
  EXPECT_EQ(client.Ask("GET", "/ingot/v1/jobs?since=yesterday").status, 422);
  EXPECT_EQ(client.Ask("GET", "/ingot/v1/jobs?fields=some").status, 422);
}

TEST(IngotApi, PicturesComeSmallAndStayInTheBrowser) {
  ApiClient client;
  ASSERT_TRUE(client.jobs.Submit({.request = {{"prompt", "p"}}}).ok());
  client.jobs.Finish("job1", JobState::kDone, {TestPicture()});
  EXPECT_EQ(client.Ask("GET", "/ingot/v1/jobs/job1/images/0?size=200").body, "small job1 0 200");
  EXPECT_EQ(client.Ask("GET", "/ingot/v1/jobs/job1/images/0?size=9000").status, 422);
  const Response whole = client.Ask("GET", "/ingot/v1/jobs/job1/images/0");
  EXPECT_TRUE(whole.body.starts_with("\x89PNG"));
  ASSERT_FALSE(whole.headers.empty());
  EXPECT_EQ(whole.headers[0].first, "Cache-Control");
  for (const char* n : {"1", "x", "-1", "0x"}) {
    EXPECT_EQ(client.Ask("GET", std::string("/ingot/v1/jobs/job1/images/") + n).status, 404) << n;
  }
}

TEST(PngInfo, GivesTextAndFields) {
  ApiClient client;
  const std::string picture = EncodeBase64(*ReadSmallFile(TestPicture()));
  for (const std::string& image : {picture, "data:image/png;base64," + picture}) {
    const Json info =
        Json::parse(client.Ask("POST", "/sdapi/v1/png-info", {{"image", image}}).body);
    EXPECT_EQ(info["info"], "p\nSteps: 2, Sampler: Euler, Seed: 1");
    EXPECT_EQ(info["parameters"]["Sampler"], "Euler");
    EXPECT_EQ(info["items"], Json::object());
  }
  EXPECT_EQ(client.Ask("POST", "/sdapi/v1/png-info", {{"image", "http://10.0.0.1/x"}}).status, 422);
  EXPECT_EQ(client.Ask("POST", "/sdapi/v1/png-info", {{"image", "%%"}}).status, 422);
}

TEST(IngotApi, AJobIsAcceptedFollowedAndRemoved) {
  ApiClient client;
  const auto accepted = client.Begin(
      "POST", "/ingot/v1/jobs",
      R"({"job":{"prompt":"p","model":"schnell-Q4_0"},"priority":2,"forge_inference_memory":5})",
      {{"Idempotency-Key", "k"}});
  const Response response = accepted->Wait();
  EXPECT_EQ(response.status, 202);
  EXPECT_EQ(Json::parse(response.body)["id"], "job1");
  EXPECT_EQ(client.jobs.submissions[0].idempotency_key, "k");
  EXPECT_EQ(client.jobs.submissions[0].priority, 2);
  EXPECT_EQ(client.jobs.submissions[0].request["files"]["diffusion"],
            "/m/Stable-diffusion/flux/schnell-Q4_0.gguf");
  EXPECT_EQ(client.Get("/ingot/v1/jobs/job1")["state"], "queued");
  client.jobs.Finish("job1", JobState::kDone, {TestPicture()});
  const Json done = client.Get("/ingot/v1/jobs/job1");
  EXPECT_EQ(done["state"], "done");
  const Response picture = client.Ask("GET", done["images"][0]["url"]);
  EXPECT_EQ(picture.content_type, "image/png");
  EXPECT_TRUE(picture.body.starts_with("\x89PNG"));
  EXPECT_EQ(client.Ask("GET", "/ingot/v1/jobs/job1/images/1").status, 404);
  EXPECT_EQ(client.Ask("GET", "/ingot/v1/jobs/job1/images/..").status, 404);
  EXPECT_EQ(client.Get("/ingot/v1/jobs?state=done")["num_total"], 1);
  EXPECT_EQ(Json::parse(client.Ask("DELETE", "/ingot/v1/jobs/job1").body)["removed"], true);
  EXPECT_EQ(client.Ask("GET", "/ingot/v1/jobs/job1").status, 404);
}

TEST(IngotApi, DeleteCancelsAJobThatHasNotEnded) {
  ApiClient client;
  (void)client.Ask("POST", "/ingot/v1/jobs", {{"job", {{"prompt", "p"}}}});
  EXPECT_EQ(Json::parse(client.Ask("DELETE", "/ingot/v1/jobs/job1").body)["cancelled"], true);
  EXPECT_EQ(client.Get("/ingot/v1/jobs/job1")["state"], "cancelled");
}

TEST(IngotApi, PatchMovesAJobThatIsQueued) {
  ApiClient client;
  client.Ask("POST", "/ingot/v1/jobs", {{"job", {{"prompt", "p"}}}});
  const auto patch = [&](const char* id, Json body) {
    return client.Ask("PATCH", std::string("/ingot/v1/jobs/") + id, body).status;
  };
  EXPECT_EQ(patch("job1", {{"position", 0}}), 200);
  EXPECT_EQ(patch("job1", {{"priority", 2}}), 200);
  EXPECT_EQ(client.jobs.moves[0].position, 0);
  EXPECT_EQ(client.jobs.moves[0].priority, std::nullopt);
  EXPECT_EQ(client.jobs.moves[1].priority, 2);
  EXPECT_EQ(patch("job1", Json::object()), 422);
  EXPECT_EQ(patch("job1", {{"position", -1}}), 422);
  EXPECT_EQ(patch("job2", {{"position", 0}}), 404);
  client.jobs.SetState("job1", JobState::kRunning);
  EXPECT_EQ(patch("job1", {{"position", 0}}), 409);
}

TEST(IngotApi, ARunningJobShowsItsLastEvents) {
  ApiClient client;
  client.Ask("POST", "/ingot/v1/jobs", {{"job", {{"prompt", "p"}}}});
  EXPECT_EQ(client.Get("/ingot/v1/jobs/job1")["progress"], Json());
  client.jobs.SetState("job1", JobState::kRunning);
  client.jobs.state.running = RunningJob{.id = "job1",
                                         .phase = "sampling",
                                         .step = 2,
                                         .num_steps = 4,
                                         .eta_s = 3,
                                         .memory = {.ram_bytes = 5, .streamed_bytes = 7}};
  const Json progress = client.Get("/ingot/v1/jobs/job1")["progress"];
  EXPECT_EQ(progress["step"], 2);
  EXPECT_EQ(progress["eta_s"], 3.0);
  EXPECT_EQ(progress["memory"]["ram_bytes"], 5);
  EXPECT_EQ(progress["memory"]["streamed_bytes"], 7);
}

TEST(IngotApi, ChoicesAreTheTablesThatJobsAreResolvedBy) {
  ApiClient client;
  const Json choices = client.Get("/ingot/v1/choices");
  EXPECT_EQ(choices["samplers"][0]["name"], Samplers()[0].name);
  EXPECT_EQ(choices["samplers"].size(), Samplers().size());
  EXPECT_EQ(choices["schedulers"].size(), Schedulers().size());
  EXPECT_EQ(choices["rngs"], Json({"cpu", "nv"}));
  EXPECT_EQ(choices["precisions"], Json({"fast", "default", "exact"}));
  EXPECT_EQ(choices["limits"]["max_side"], kJobLimits.max_side);
}

TEST(IngotApi, ModelsHaveTheNamesThatJobsCallThemBy) {
  ApiClient client;
  const Json models = client.Get("/ingot/v1/models")["models"];
  EXPECT_EQ(models[0]["name"], "ingot-demo.gguf");
  EXPECT_EQ(models[0]["title"], "ingot-demo.gguf [aaaaaaaaaa]");
  EXPECT_EQ(models[1]["name"], "flux/schnell-Q4_0.gguf");
  const Response accepted = client.Ask("POST", "/ingot/v1/jobs",
                                       {{"job", {{"prompt", "p"}, {"model", models[1]["name"]}}}});
  EXPECT_EQ(accepted.status, 202) << accepted.body;
}

TEST(IngotApi, AFileIsFoundByItsContentAndItsCopiesAreNamed) {
  ApiClient client;
  const std::string hash(64, 'b');
  client.jobs.answers["models"] = {{"models",
                                    {{{"path", "/m/VAE/ae.safetensors"}, {"sha256", hash}},
                                     {{"path", "/m/VAE/copy.safetensors"}, {"sha256", hash}},
                                     {{"path", "/m/VAE/unknown.safetensors"}, {"sha256", nullptr}},
                                     {{"path", "/m/VAE/other.safetensors"}, {"sha256", nullptr}}}}};
  const Json models = client.Get("/ingot/v1/models")["models"];
  EXPECT_EQ(models[0]["duplicates"], Json::array({"copy.safetensors"}));
  EXPECT_EQ(models[2]["duplicates"], Json::array());
  const Json files = client.Get("/ingot/v1/files/" + hash)["files"];
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[1]["name"], "copy.safetensors");
  EXPECT_EQ(client.Ask("GET", "/ingot/v1/files/" + std::string(64, 'c')).status, 404);
}

TEST(IngotApi, ATitleHasTheHashAsSoonAsItIsKnown) {
  ApiClient client;
  const auto title = [&] {
    return Json::parse(client.Ask("GET", "/sdapi/v1/sd-models").body)[1]["title"];
  };
  EXPECT_EQ(title(), "flux/schnell-Q4_0.gguf");
  const std::string hash(64, 'c');
  client.jobs.answers["models"]["models"][1]["sha256"] = hash;
  client.jobs.Emit({.type = "hashed", .data = Json::object()});
  EXPECT_EQ(title(), "flux/schnell-Q4_0.gguf [cccccccccc]");
  const Response accepted =
      client.Ask("POST", "/ingot/v1/jobs", {{"job", {{"prompt", "p"}, {"model", hash}}}});
  EXPECT_EQ(accepted.status, 202) << accepted.body;
}

TEST(StateApi, SaysHowTheServerIsWithoutItsSecrets) {
  ApiClient client;
  LogTail log;
  const ServeOptions options{.models_dir = "/m",
                             .data_dir = "/d",
                             .num_threads = 3,
                             .device = SimOptions{.vram_bytes = 7},
                             .api_auth = "user:secret"};
  AddStateRoutes(client.router, client.jobs, options, log, [] { return "http://127.0.0.1:1"; });
  const Response response = client.Ask("GET", "/ingot/v1/state");
  EXPECT_EQ(response.body.find("secret"), std::string::npos);
  const Json state = Json::parse(response.body);
  EXPECT_EQ(state["url"], "http://127.0.0.1:1");
  EXPECT_EQ(state["has_auth"], true);
  EXPECT_EQ(state["worker"]["alive"], true);
  EXPECT_EQ(state["device"]["name"], "sim");
  EXPECT_EQ(state["device"]["vram_bytes"], 7);
  EXPECT_EQ(state["device"]["num_threads"], 3);
  EXPECT_EQ(state["folders"]["models"], "/m");
  EXPECT_GE(state["uptime_s"], 0);
}

TEST(StateApi, LogsAreTheLastLinesAndNoneSaysWhatAPictureShows) {
  ApiClient client;
  LogTail log;
  AddStateRoutes(client.router, client.jobs, {}, log, [] { return ""; });
  for (int i = 0; i < 1200; ++i) log.Add(fmt::format("{{\"i\":{}}}", i));
  log.Add(LogLine(JobEvent{.job_id = "j",
                           .type = "failed",
                           .data = {{"code", "NotFound"}, {"error", "gone"}, {"prompt", "p"}}}));
  EXPECT_EQ(log.Last(2000).size(), LogTail::kMaxLines);
  const Json lines = client.Get("/ingot/v1/logs?limit=2")["lines"];
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["i"], 1199);
  EXPECT_EQ(lines[1]["level"], "warning");
  EXPECT_EQ(lines[1]["event"], "failed");
  EXPECT_EQ(lines[1]["error"], "gone");
  EXPECT_FALSE(lines[1].contains("prompt"));
  EXPECT_EQ(client.Get("/ingot/v1/logs")["lines"].size(), 200u);
  EXPECT_EQ(client.Ask("GET", "/ingot/v1/logs?limit=0").status, 422);
  EXPECT_EQ(LogLine(JobEvent{.type = "step"}), "");
}

TEST(IngotApi, NoPathOfAClientIsAFile) {
  ApiClient client;
  const Response response =
      client.Ask("POST", "/ingot/v1/jobs", {{"job", {{"files", {{"clip", "/etc/passwd"}}}}}});
  EXPECT_EQ(response.status, 422);
  EXPECT_TRUE(client.jobs.submissions.empty());
}

TEST(IngotApi, EventsGoOnBehindTheLastOne) {
  ApiClient client;
  (void)client.Ask("POST", "/ingot/v1/jobs", {{"job", {{"prompt", "p"}}}});
  client.jobs.Emit({.job_id = "job1", .type = "started"});
  client.jobs.Emit({.job_id = "job1", .type = "step", .data = {{"step", 1}}});
  const auto answered =
      client.Begin("GET", "/ingot/v1/jobs/job1/events", "", {{"Last-Event-ID", "1"}});
  client.jobs.Finish("job1", JobState::kDone, {TestPicture()});
  answered->WaitForClose();
  ASSERT_EQ(answered->stream->events.size(), 2u);
  EXPECT_EQ(answered->stream->events[0].id, "2");
  EXPECT_EQ(answered->stream->events[0].type, "step");
  EXPECT_EQ(answered->stream->events[0].data, R"({"job_id":"job1","step":1})");
  EXPECT_EQ(answered->stream->events[1].type, "done");
  answered->CloseStream();
}

TEST(IngotApi, AnEndedJobTellsWhatIsKnownOfItAndItsEnd) {
  ApiClient client;
  const auto types = [&](const char* id, const char* last) {
    const auto answered = client.Begin("GET", fmt::format("/ingot/v1/jobs/{}/events", id), "",
                                       {{"Last-Event-ID", last}});
    answered->WaitForClose();
    std::string all;
    for (const auto& event : answered->stream->events) all += event.type + " ";
    return all;
  };
  (void)client.Ask("POST", "/ingot/v1/jobs", {{"job", {{"prompt", "p"}}}});
  client.jobs.Emit({.job_id = "job1", .type = "started"});
  client.jobs.Finish("job1", JobState::kDone, {TestPicture()});
  EXPECT_EQ(types("job1", "0"), "started done ");
  EXPECT_EQ(types("job1", "1"), "done ");
  (void)client.Ask("POST", "/ingot/v1/jobs", {{"job", {{"prompt", "p"}}}});
  client.jobs.SetState("job2", JobState::kFailed);  // by a server before this one
  EXPECT_EQ(types("job2", "0"), "failed ");
}

TEST(IngotApi, PlanAsksAndRunsNothing) {
  ApiClient client;
  const Response response =
      client.Ask("POST", "/ingot/v1/plan", {{"job", {{"prompt", "p"}}}, {"memory_bytes", 1 << 30}});
  EXPECT_EQ(Json::parse(response.body),
            (Json{{"question", "plan"},
                  {"argument", {{"memory_bytes", 1 << 30}, {"request", {{"prompt", "p"}}}}}}));
  EXPECT_TRUE(client.jobs.submissions.empty());
}

TEST(IngotApi, TheBudgetChangesLive) {
  ApiClient client;
  EXPECT_EQ(client.Ask("PUT", "/ingot/v1/memory", {{"memory_bytes", 1 << 30}}).status, 200);
  EXPECT_EQ(client.jobs.memory_bytes, 1 << 30);
  EXPECT_EQ(client.Ask("PUT", "/ingot/v1/memory", {{"memory_bytes", "1"}}).status, 422);
}

}  // namespace
}  // namespace ingot::server
