#include "engine/json.h"

#include <gtest/gtest.h>

#include "engine/engine.h"

namespace ingot {
namespace {

Status FaultOf(const char* text) {
  return JobRequestFromJson(Json::parse(text), "models").status();
}

TEST(JobJson, GivesTheJobThatItWasMadeOf) {
  const std::string models = INGOT_SOURCE_DIR "/demo/models";
  Result<JobRequest> request = JobRequestFromJson(
      Json::parse(R"({"prompt":"a red house","width":128,"steps":3,"seed":18446744073709551615,
                      "sampler":"Euler a","eta":0,"cfg":2.5,"batch":null})"),
      models);
  ASSERT_TRUE(request.ok()) << request.status().message();
  const Result<Job> job = ResolveJob(*request);
  ASSERT_TRUE(job.ok()) << job.status().message();
  EXPECT_EQ(job->seed, UINT64_MAX);
  EXPECT_EQ(job->batch, 1);

  const Json json = ToJson(*job);
  const Result<JobRequest> again = JobRequestFromJson(Json::parse(Dump(json)), "nowhere");
  ASSERT_TRUE(again.ok()) << again.status().message();
  const Result<Job> same = ResolveJob(*again);
  ASSERT_TRUE(same.ok()) << same.status().message();
  EXPECT_EQ(ToJson(*same), json);
}

TEST(JobJson, FaultsNameTheKeyAndWhatWasFound) {
  EXPECT_EQ(FaultOf(R"([1])").message(), "job: expected an object, found [1]");
  EXPECT_EQ(FaultOf(R"({"steps":"20"})").message(),
            "job.steps: expected a whole number, found \"20\"");
  EXPECT_EQ(FaultOf(R"({"steps":1e99})").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FaultOf(R"({"batch":4294967297})").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FaultOf(R"({"seed":-1})").code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FaultOf(R"({"hight":64})").message(), "job: expected a field of a job, found 'hight'");
  EXPECT_EQ(FaultOf(R"({"files":{"unet":"x"}})").message(),
            "job.files: expected a field of a job, found 'unet'");
}

TEST(PlanJson, HasPeaksPhasesAndExplanation) {
  Plan plan;
  plan.phases = {{.name = "t5", .arena_bytes = 100, .predicted_s = 12.5},
                 {.name = "decode", .arena_bytes = 300, .num_parts = 8}};
  plan.fixed_bytes = 7;
  const Json json = ToJson(plan);
  EXPECT_EQ(json["peak_ram_bytes"], 307);
  EXPECT_EQ(json["peak_vram_bytes"], 0);
  EXPECT_EQ(json["phases"][0]["predicted_s"], 12.5);
  EXPECT_TRUE(json["phases"][1]["predicted_s"].is_null());
  EXPECT_EQ(json["phases"][1]["num_parts"], 8);
  EXPECT_TRUE(json["explanation"].is_array());
}

}  // namespace
}  // namespace ingot
