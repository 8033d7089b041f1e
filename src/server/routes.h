// What the server answers, by door. Each function adds its rows to the table; what it is given
// outlives the table.
#pragma once

#include <functional>

#include "jobs/job_service.h"
#include "server/http_server.h"
#include "server/metrics.h"
#include "server/router.h"
#include "server/serve.h"

namespace ingot::server {

void AddSdapiRoutes(Router& router, JobService& jobs, const ServeOptions& options);
void AddInternalRoutes(Router& router, JobService& jobs, const ServeOptions& options);
void AddControlnetRoutes(Router& router, JobService& jobs, const ServeOptions& options);
void AddIngotRoutes(Router& router, JobService& jobs, const ServeOptions& options);
void AddOpenaiRoutes(Router& router, JobService& jobs, const ServeOptions& options);

// /healthz, /metrics, /openapi.json, /docs, and / where nobody else has it. Last of all.
void AddOperationsRoutes(Router& router, JobService& jobs, const ServeOptions& options,
                         Metrics& metrics, std::function<HttpCounts()> counts);

}  // namespace ingot::server
