// How a picture was made, by what it says itself, whoever made it: in the words of A1111's text.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "engine/pictures.h"
#include "server/infotext.h"
#include "server/model_catalog.h"

namespace ingot::server {

struct PictureInfo {
  // "Ingot", "Forge", "AUTOMATIC1111", "ComfyUI", "NovelAI", "SwarmUI"; empty: nothing is known.
  std::string source;
  Infotext info;
  // The "parameters" text; of other sources the same, written of `info`.
  std::string text;
};
PictureInfo ReadPictureInfo(const std::vector<PngText>& texts);

// What of it a job here can repeat.
struct Recipe {
  Json job = Json::object();  // keys of a job: prompt, model, files, sampler, …
  // What it cannot: [{"field", "found", "message", "known": […]}].
  Json unknown = Json::array();
};
Recipe RecipeOf(const PictureInfo& picture, ModelCatalog& models);

}  // namespace ingot::server
