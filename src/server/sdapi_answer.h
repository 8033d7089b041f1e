// The answer to /sdapi/v1/txt2img, made of the job in the history.
#pragma once

#include "jobs/job_row.h"
#include "server/http.h"

namespace ingot::server {

// {"images","parameters","info","plan"} of a job that is done or was interrupted; the error of
// another.
Response Txt2ImgAnswer(const JobRow& job);

// Forge's `info`, every key in its order.
Json InfoOf(const JobRow& job);

// The request with what it left out: the schema's defaults, and the job's values for those that
// are the model's.
Json ParametersOf(const JobRow& job);

}  // namespace ingot::server
