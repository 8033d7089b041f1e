#include "server/picture_info.h"

#include <gtest/gtest.h>

#include "fake_job_service.h"

namespace ingot::server {
namespace {

struct Catalog {
  FakeJobService jobs;
  ModelCatalog models{jobs, "/m"};
  Recipe Of(const PictureInfo& picture) { return RecipeOf(picture, models); }
};

TEST(PictureInfo, ATextOfForgeIsAJobHere) {
  const PictureInfo picture = ReadPictureInfo(
      {{"parameters",
        "a cat\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG "
        "scale: "
        "1, Distilled CFG Scale: 3.5, Seed: 42, Size: 896x1152, Model hash: aaaaaaaaaa, Model: "
        "renamed, Version: f2.0.1v1.10.1-previous-313-g8a042934, Module 1: ae, Module 2: clip_l, "
        "Module 3: t5xxl_fp16"}});
  EXPECT_EQ(picture.source, "Forge");
  const Recipe recipe = Catalog().Of(picture);
  EXPECT_EQ(recipe.job, Json::parse(R"({"prompt":"a cat","negative_prompt":"dog",
      "model":"ingot-demo.gguf","files":{"vae":"ae.safetensors","clip":"clip_l.safetensors"},
      "sampler":"DPM++ 2M","scheduler":"Karras","width":896,"height":1152,"steps":20,"seed":42,
      "cfg":1,"guidance":3.5,"rng":"nv"})"));
  ASSERT_EQ(recipe.unknown.size(), 1u) << recipe.unknown;
  EXPECT_EQ(recipe.unknown[0]["field"], "module");
  EXPECT_EQ(recipe.unknown[0]["found"], "t5xxl_fp16");
}

TEST(PictureInfo, WhatIsNotHereIsNamedWithWhatIs) {
  const Recipe recipe = Catalog().Of(ReadPictureInfo(
      {{"parameters",
        "a <lora:x:1>\nSteps: 20, Sampler: Restart, Seed: 1, Model hash: 879db523c3, Model: "
        "dreamshaper_8, Denoising strength: 0.5, Version: v1.10.1"}}));
  std::string fields;
  for (const Json& unknown : recipe.unknown) fields += unknown["field"].get<std::string>() + " ";
  EXPECT_EQ(fields, "prompt model sampler Denoising strength ");
  EXPECT_EQ(recipe.unknown[1]["found"], "dreamshaper_8 [879db523c3]");
  EXPECT_EQ(recipe.unknown[1]["known"],
            Json::parse(R"(["ingot-demo.gguf", "flux/schnell-Q4_0.gguf"])"));
  EXPECT_FALSE(recipe.job.contains("model"));
  EXPECT_FALSE(recipe.job.contains("sampler"));
}

// The workflow that ComfyUI's own Flux example saves, cut to its nodes' inputs.
constexpr const char* kFluxGraph = R"({
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["40", 0], "clip": ["11", 0]}},
  "40": {"class_type": "PrimitiveString", "inputs": {"value": "a red fox"}},
  "8": {"class_type": "VAEDecode", "inputs": {"samples": ["13", 0], "vae": ["10", 0]}},
  "10": {"class_type": "VAELoader", "inputs": {"vae_name": "ae.safetensors"}},
  "11": {"class_type": "DualCLIPLoader", "inputs": {"clip_name1": "t5.gguf",
         "clip_name2": "clip_l.safetensors", "type": "flux"}},
  "12": {"class_type": "UNETLoader", "inputs": {"unet_name": "FLUX1\\schnell-Q4_0.gguf"}},
  "13": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["25", 0],
         "guider": ["22", 0], "sampler": ["16", 0], "sigmas": ["17", 0], "latent_image": ["27", 0]}},
  "16": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
  "17": {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 20,
         "denoise": 1, "model": ["12", 0]}},
  "22": {"class_type": "BasicGuider", "inputs": {"model": ["12", 0], "conditioning": ["26", 0]}},
  "25": {"class_type": "RandomNoise", "inputs": {"noise_seed": 219670278747233}},
  "26": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["6", 0]}},
  "27": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 768,
         "batch_size": 1}}})";

TEST(PictureInfo, AGraphOfComfyIsFollowedFromItsSampler) {
  const PictureInfo picture = ReadPictureInfo({{"prompt", kFluxGraph}, {"workflow", "{}"}});
  EXPECT_EQ(picture.source, "ComfyUI");
  const Recipe recipe = Catalog().Of(picture);
  EXPECT_EQ(recipe.job, Json::parse(R"({"prompt":"a red fox","model":"flux/schnell-Q4_0.gguf",
      "files":{"vae":"ae.safetensors","t5":"t5.gguf","clip":"clip_l.safetensors"},
      "sampler":"Euler","scheduler":"Simple","width":1024,"height":768,"steps":20,
      "seed":219670278747233,"guidance":3.5,"rng":"cpu"})"));
  EXPECT_EQ(recipe.unknown, Json::array());
}

TEST(PictureInfo, AGraphWithOneSamplerNodeHasBothPrompts) {
  const PictureInfo picture = ReadPictureInfo({{"prompt", R"({
    "3": {"class_type": "KSampler", "inputs": {"seed": 5, "steps": 30, "cfg": 7.5,
          "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1, "model": ["4", 0],
          "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "v1-5.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 640}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "good", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "bad", "clip": ["4", 1]}}})"}});
  EXPECT_EQ(picture.text,
            "good\nNegative prompt: bad\nSteps: 30, Sampler: DPM++ 2M, Schedule type: karras, CFG "
            "scale: 7.5, Seed: 5, Size: 512x640, Model: v1-5.safetensors, RNG: CPU");
}

TEST(PictureInfo, ALoopOfLinksEnds) {
  const PictureInfo picture = ReadPictureInfo({{"prompt", R"({
    "1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "model": ["1", 0]}},
    "2": {"class_type": "A", "inputs": {"conditioning": ["1", 0], "x": [], "y": [null]}}})"}});
  EXPECT_EQ(picture.source, "ComfyUI");
  EXPECT_EQ(picture.info.prompt, "");
}

TEST(PictureInfo, NovelAiIsReadFromItsTextsAndFromAlpha) {
  const std::string comment =
      R"({"steps": 28, "height": 1216, "width": 832, "scale": 5.0, "seed": 123, "noise_schedule":
          "karras", "sampler": "k_euler_ancestral", "uc": "lowres", "prompt": "1girl"})";
  for (const auto& texts :
       {std::vector<PngText>{
            {"Software", "NovelAI"}, {"Description", "1girl"}, {"Comment", comment}},
        std::vector<PngText>{
            {"hidden", Json{{"Description", "1girl"}, {"Comment", comment}}.dump()}}}) {
    const PictureInfo picture = ReadPictureInfo(texts);
    EXPECT_EQ(picture.source, "NovelAI");
    EXPECT_EQ(Catalog().Of(picture).job,
              Json::parse(R"({"prompt":"1girl","negative_prompt":"lowres",
        "sampler":"Euler a","scheduler":"Karras","width":832,"height":1216,"steps":28,"seed":123,
        "cfg":5.0})"));
  }
}

TEST(PictureInfo, SwarmWritesJsonAsParameters) {
  const PictureInfo picture = ReadPictureInfo({{"parameters", R"({"sui_image_params": {
      "prompt": "a hill", "model": "flux/schnell-Q4_0", "seed": 9, "steps": 4, "cfgscale": 1,
      "width": 512, "height": 512}})"}});
  EXPECT_EQ(picture.source, "SwarmUI");
  EXPECT_EQ(Catalog().Of(picture).job["model"], "flux/schnell-Q4_0.gguf");
}

TEST(PictureInfo, OfAStrangersTextsNothingIsKnown) {
  for (const auto& texts : {std::vector<PngText>(), std::vector<PngText>{{"Software", "GIMP"}},
                            std::vector<PngText>{{"prompt", "[1, 2"}},
                            std::vector<PngText>{{"prompt", R"({"1": null, "2": []})"}},
                            std::vector<PngText>{{"Comment", "{}"}}}) {
    EXPECT_EQ(ReadPictureInfo(texts).source, "");
    EXPECT_EQ(Catalog().Of(ReadPictureInfo(texts)).job, Json::object());
  }
}

}  // namespace
}  // namespace ingot::server
