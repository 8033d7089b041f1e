// A body of /sdapi/v1/txt2img as a job.
#pragma once

#include "server/model_catalog.h"
#include "server/schema.h"

namespace ingot::server {

// Every field of Forge's request. Fields whose default is the model's (steps, size, cfg_scale, …)
// have none here.
const Schema& Txt2ImgSchema();

// `values` are those of the schema, `options` all of GET options. What Ingot does not do yet is
// refused by its name, when it would change the picture: kInvalidArgument, kNotFound of a model.
// Pictures are n_iter * batch_size with rising seeds, as Forge counts them. `door_state` of the
// answer is {"door":"sdapi","request":values,"task_id"}.
Result<Submission> SubmissionFromTxt2Img(const Json& values, const Json& options,
                                         ModelCatalog& models);

// A sampler and a scheduler as clients write them: name or alias in any case, and a scheduler at
// the end of the sampler's name ("DPM++ 2M Karras"), which wins. Empty: the model's default, and so
// is "Automatic".
struct SamplerChoice {
  std::string sampler, scheduler;
};
Result<SamplerChoice> ChooseSampler(std::string_view sampler, std::string_view scheduler);

// Of a prompt: LoRA and its like, prompt editing and AND are refused by name.
Status CheckPrompt(std::string_view prompt, std::string_view field);

}  // namespace ingot::server
