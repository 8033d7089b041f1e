// What the server answers, by door. Each function adds its rows to the table.
#pragma once

#include "jobs/job_service.h"
#include "server/router.h"
#include "server/serve.h"

namespace ingot::server {

void AddSdapiRoutes(Router& router, JobService& jobs, const ServeOptions& options);
void AddInternalRoutes(Router& router, JobService& jobs, const ServeOptions& options);
void AddControlnetRoutes(Router& router, JobService& jobs, const ServeOptions& options);
void AddIngotRoutes(Router& router, JobService& jobs, const ServeOptions& options);
void AddOpenaiRoutes(Router& router, JobService& jobs, const ServeOptions& options);

}  // namespace ingot::server
