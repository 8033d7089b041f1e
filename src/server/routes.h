// What the server answers, by door. Each function adds its rows to the table; what it is given
// outlives the table.
#pragma once

#include <functional>

#include "jobs/job_service.h"
#include "server/http_server.h"
#include "server/log_tail.h"
#include "server/metrics.h"
#include "server/router.h"
#include "server/serve.h"

namespace ingot::server {

// /sdapi/v1, /internal, /controlnet, /ingot/v1, /v1 (server/api.h): docs/api.md.
void AddApiRoutes(Router& router, JobService& jobs, const ServeOptions& options);

// The web page: / and /web/….
void AddPageRoutes(Router& router);

// /ingot/v1/state and /ingot/v1/logs. `url`: where it listens.
void AddStateRoutes(Router& router, JobService& jobs, const ServeOptions& options,
                    const LogTail& log, std::function<std::string()> url);

// /healthz, /metrics, /openapi.json, /docs. Last of all.
void AddOperationsRoutes(Router& router, JobService& jobs, const ServeOptions& options,
                         Metrics& metrics, std::function<HttpCounts()> counts);

}  // namespace ingot::server
