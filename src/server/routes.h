// All that the server answers besides its own pages: one function a group of routes.
#pragma once

#include "jobs/job_service.h"
#include "server/router.h"
#include "server/serve.h"

namespace ingot::server {

// `jobs` outlives the router.
void AddApiRoutes(Router& router, JobService& jobs, const ServeOptions& options);

}  // namespace ingot::server
