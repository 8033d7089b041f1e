#include "server/sdapi_request.h"

#include <gtest/gtest.h>

#include "fake_job_service.h"
#include "server/options.h"

namespace ingot::server {
namespace {

struct Txt2Img : testing::Test {
  Result<Submission> Translate(const Json& body) {
    const Validated validated = Validate(Txt2ImgSchema(), body);
    if (!validated.faults.empty()) return InvalidArgument("{}", validated.faults[0].message);
    return SubmissionFromTxt2Img(validated.values, *options.All(), models);
  }
  Json JobOf(const Json& body) {
    const Result<Submission> submission = Translate(body);
    EXPECT_TRUE(submission.ok()) << submission.status().message();
    return submission.ok() ? submission->request : Json();
  }
  std::string FaultOf(const Json& body) { return Translate(body).status().message(); }

  FakeJobService jobs;
  ModelCatalog models{jobs, "/m"};
  OptionStore options{jobs, models};
};

TEST_F(Txt2Img, WhatIsLeftOutIsTheModels) {
  const Json job = JobOf({{"prompt", "p"}, {"steps", 0}, {"width", 0}, {"seed", -1}});
  EXPECT_EQ(job, (Json{{"prompt", "p"},
                       {"negative_prompt", ""},
                       {"batch", 1},
                       {"rng", "cpu"},
                       {"files", {{"diffusion", "/m/Stable-diffusion/ingot-demo.gguf"}}}}));
}

TEST_F(Txt2Img, WhatIsGivenIsHonoured) {
  const Json job = JobOf({{"prompt", "p"},
                          {"negative_prompt", "n"},
                          {"steps", "7"},
                          {"cfg_scale", "7.0"},
                          {"distilled_cfg_scale", 2},
                          {"width", 512.0},
                          {"height", 256},
                          {"seed", "123456789012"},
                          {"sampler_name", "k_euler_a"},
                          {"scheduler", "sgm_uniform"},
                          {"eta", 0},
                          {"n_iter", 2},
                          {"batch_size", 3}});
  EXPECT_EQ(job["steps"], 7);
  EXPECT_EQ(job["cfg"], 7.0);
  EXPECT_EQ(job["guidance"], 2);
  EXPECT_EQ(job["width"], 512);
  EXPECT_EQ(job["height"], 256);
  EXPECT_EQ(job["seed"], 123456789012);
  EXPECT_EQ(job["sampler"], "Euler a");
  EXPECT_EQ(job["scheduler"], "SGM Uniform");
  EXPECT_EQ(job["eta"], 0);
  EXPECT_EQ(job["batch"], 6);
}

TEST_F(Txt2Img, SamplersAreFoundAsClientsWriteThem) {
  const auto choice = [](const char* sampler, const char* scheduler) {
    const Result<SamplerChoice> chosen = ChooseSampler(sampler, scheduler);
    return chosen.ok() ? chosen->sampler + "|" + chosen->scheduler : chosen.status().message();
  };
  EXPECT_EQ(choice("", ""), "|");
  EXPECT_EQ(choice("euler A", "automatic"), "Euler a|");
  EXPECT_EQ(choice("DPM++ 2M Karras", ""), "DPM++ 2M|Karras");
  EXPECT_EQ(choice("DPM++ 2M SDE exponential", "Automatic"), "DPM++ 2M SDE|Exponential");
  EXPECT_EQ(choice("Euler", "SGMUniform"), "Euler|SGM Uniform");
  EXPECT_EQ(choice("DDIM", "ddim"), "DDIM|DDIM");
  EXPECT_TRUE(choice("DPM++ SDE Karras", "").starts_with("sampler_name: Sampler not found: "));
  EXPECT_NE(choice("x", "").find("Euler a"), std::string::npos);
  EXPECT_TRUE(choice("Euler", "turbo").starts_with("scheduler: "));
}

TEST_F(Txt2Img, WhatDoesNotExistIsRefusedByName) {
  const std::pair<const char*, Json> kRefused[] = {
      {"enable_hr", {{"enable_hr", true}}},
      {"restore_faces", {{"restore_faces", true}}},
      {"tiling", {{"tiling", "true"}}},
      {"subseed_strength", {{"subseed_strength", 0.1}}},
      {"seed_resize_from_w", {{"seed_resize_from_w", 64}, {"seed_resize_from_h", 64}}},
      {"refiner_checkpoint", {{"refiner_checkpoint", "x"}}},
      {"s_churn", {{"s_churn", 1}}},
      {"s_noise", {{"s_noise", 0.9}, {"sampler_name", "Euler a"}}},
      {"mask", {{"mask", "AAAA"}}},
      {"init_images", {{"init_images", {"AAAA"}}}},
      {"script_name", {{"script_name", "X/Y/Z plot"}}},
      {"alwayson_scripts", {{"alwayson_scripts", {{"ADetailer", {{"args", {true, true}}}}}}}},
      {"alwayson_scripts",
       {{"alwayson_scripts", {{"controlnet", {{"args", {{{"model", "x"}}}}}}}}}},
      {"prompt", {{"prompt", "a <lora:x:1>"}}},
      {"negative_prompt", {{"negative_prompt", "<LYCO:x>"}}},
      {"prompt", {{"prompt", "[a:b:0.5]"}}},
      {"prompt", {{"prompt", "[a|b]"}}},
      {"prompt", {{"prompt", "a AND b"}}},
      {"override_settings.samples_format", {{"override_settings", {{"samples_format", "webp"}}}}},
      {"override_settings.sd_model_checkpoint",
       {{"override_settings", {{"sd_model_checkpoint", "nope"}}}}},
      {"override_settings.forge_additional_modules",
       {{"override_settings", {{"forge_additional_modules", {"nope"}}}}}},
      {"n_iter", {{"n_iter", 64}, {"batch_size", 2}}}};
  for (const auto& [field, body] : kRefused) {
    EXPECT_TRUE(FaultOf(body).starts_with(std::string(field) + ":"))
        << Dump(body) << ": " << FaultOf(body);
  }
  EXPECT_NE(FaultOf({{"script_name", "no such"}}).find("not found"), std::string::npos);
}

TEST_F(Txt2Img, WhatChangesNoPicturePasses) {
  const Json kHarmless[] = {
      {{"hr_scale", 2}, {"hr_upscaler", "Latent"}, {"denoising_strength", "0.7"}},
      {{"seed_resize_from_w", -1}, {"seed_resize_from_h", 0}},
      {{"hr_checkpoint_name", nullptr}, {"script_name", nullptr}, {"styles", {"None"}}},
      {{"s_noise", 0.5}, {"sampler_name", "Euler"}},
      {{"mask", ""}, {"init_images", Json::array()}},
      {{"alwayson_scripts",
        {{"ADetailer", {{"args", {false}}}}, {"ControlNet", {{"args", Json::array()}}}}}},
      {{"alwayson_scripts", {{"controlnet", {{"args", {{{"enabled", false}}}}}}}}},
      {{"alwayson_scripts", {{"Never OOM Integrated", {{"args", {true, true}}}}}}},
      {{"prompt", "[a] (b:1.2) <b> SANDAL AND"}},
      {{"prompt", "<lora:x:1>"}, {"disable_extra_networks", true}},
      {{"override_settings",
        {{"CLIP_stop_at_last_layers", 2.0}, {"ddim_discretize", "x"}, {"sd_vae", "Automatic"}}}}};
  for (const Json& body : kHarmless) EXPECT_EQ(FaultOf(body), "") << Dump(body);
}

TEST_F(Txt2Img, OverridesBelongToTheJob) {
  const Result<Submission> good = Translate(
      {{"override_settings",
        {{"sd_model_checkpoint", "schnell-Q4_0"},
         {"sd_vae", "ae"},
         {"forge_additional_modules", {"t5.gguf", "/any/where/clip_l.safetensors", "Automatic"}},
         {"forge_inference_memory", 1024},
         {"randn_source", "GPU"}}}});
  ASSERT_TRUE(good.ok()) << good.status().message();
  EXPECT_EQ(good->request["files"], (Json{{"diffusion", "/m/Stable-diffusion/flux/schnell-Q4_0.gguf"},
                                          {"vae", "/m/VAE/ae.safetensors"},
                                          {"t5", "/m/text_encoder/t5.gguf"},
                                          {"clip", "/m/text_encoder/clip_l.safetensors"}}));
  EXPECT_EQ(good->forge_inference_memory, 1024);
  EXPECT_EQ(good->request["rng"], "nv");
  EXPECT_TRUE(jobs.stored.empty());
  EXPECT_EQ(Translate({{"prompt", "p"}})->forge_inference_memory, std::nullopt);
}

TEST_F(Txt2Img, OptionsApplyToLaterJobs) {
  ASSERT_TRUE(
      options.Set({{"sd_model_checkpoint", "flux/schnell-Q4_0.gguf"}, {"forge_inference_memory", 2048}})
          .ok());
  const Result<Submission> submission = Translate({{"prompt", "p"}});
  EXPECT_EQ(submission->request["files"]["diffusion"], "/m/Stable-diffusion/flux/schnell-Q4_0.gguf");
  EXPECT_EQ(submission->forge_inference_memory, 2048);
}

TEST_F(Txt2Img, InfotextFillsWhatTheRequestLeavesOut) {
  const Json job = JobOf({{"prompt", "mine"},
                          {"infotext",
                           "theirs\nNegative prompt: bad\nSteps: 9, Sampler: Heun, Schedule type: "
                           "Beta, CFG scale: 2, Seed: 5, Size: 128x64"}});
  EXPECT_EQ(job["prompt"], "mine");
  EXPECT_EQ(job["negative_prompt"], "bad");
  EXPECT_EQ(job["steps"], 9);
  EXPECT_EQ(job["sampler"], "Heun");
  EXPECT_EQ(job["scheduler"], "Beta");
  EXPECT_EQ(job["seed"], 5);
  EXPECT_EQ(job["width"], 128);
  EXPECT_EQ(job["height"], 64);
}

// What clients send, from their sources; tests/server/client_bodies.json.
TEST_F(Txt2Img, EveryClientIsUnderstoodOrRefusedByName) {
  const auto text = ReadSmallFile(INGOT_SOURCE_DIR "/tests/server/client_bodies.json");
  for (const Json& client : Json::parse(*text)) {
    const std::string fault = FaultOf(client["body"]);
    if (client["refused"].is_null()) {
      EXPECT_EQ(fault, "") << client["client"];
    } else {
      EXPECT_TRUE(fault.starts_with(client["refused"].get<std::string>() + ":"))
          << client["client"] << ": " << fault;
    }
  }
}

// Each field absent, null, of each wrong type and extreme: an answer, never a crash.
TEST_F(Txt2Img, EveryValueOfEveryFieldHasAnAnswer) {
  const Json kValues[] = {nullptr,
                          true,
                          -1,
                          0,
                          1e308,
                          -1e308,
                          UINT64_MAX,
                          INT64_MIN,
                          "",
                          "-1",
                          "1e99",
                          "\xff",
                          std::string(5000, '['),
                          Json::array(),
                          {nullptr},
                          {{"a", nullptr}},
                          {{1, {2}}},
                          Json::object(),
                          {{"args", {{"args", 1}}}},
                          {{"x", {{"args", {1, "2", nullptr}}}}}};
  for (const Field& field : Txt2ImgSchema().fields) {
    for (const Json& value : kValues) {
      const Result<Submission> submission = Translate({{field.name, value}});
      const StatusCode code = submission.status().code();
      EXPECT_TRUE(code == StatusCode::kOk || code == StatusCode::kInvalidArgument) << field.name;
    }
  }
  for (const Option& option : AllOptions()) {
    for (const Json& value : kValues) {
      const Json overrides = {{std::string(option.name), value}};
      (void)Translate({{"override_settings", overrides}});
      (void)options.Set(overrides);
      (void)options.All();
      (void)Translate({{"prompt", "p"}});
    }
  }
}

}  // namespace
}  // namespace ingot::server
