// Job, plan and what was measured, as JSON: one form for the command line, the worker and the API.
#pragma once

#include <span>

#include <nlohmann/json.hpp>

#include "base/status.h"
#include "memory/plan.h"
#include "pipeline/job.h"
#include "pipeline/record.h"

namespace ingot {

struct JobChange;
struct JobResult;

using Json = nlohmann::ordered_json;  // keys stay in the order they are written

// One line of text. Paths and tensor names may be any bytes: what is not UTF-8 is
// replaced, where dump() by itself throws.
std::string Dump(const Json& json, int indent = -1);

// Every default written out, files by path. ResolveJob of JobRequestFromJson gives the same job,
// as long as the files are what they were.
Json ToJson(const Job& job);

// An object with some keys of ToJson(Job), and "model" for a diffusion model by name; null is as
// absent. "numerics" and "min_text_tokens" are accepted and say nothing. kInvalidArgument names
// the key, what was expected and what was found; an unknown key as well.
Result<JobRequest> JobRequestFromJson(const Json& json, const std::filesystem::path& models_dir);

Json ToJson(const Plan& plan);

// A job that does not fit: {"message", "changes": [{"memory_bytes"} or
// {"width","height","batch"}]}.
Json ToJson(const Status& refusal, std::span<const JobChange> changes);

// {"images":[{"path","seed","sha256","infotext"}],"interrupted","plan":{…},"measured":{…}}
Json ToJson(const JobResult& result);

}  // namespace ingot
