// Stands for the jobs layer and the routes of the API until their branches are merged.
#include "server/routes.h"

namespace ingot {

Result<std::unique_ptr<JobService>> JobService::Open(JobServiceOptions) {
  return Unavailable("jobs: expected the jobs layer, found a build without it");
}

namespace server {

void AddSdapiRoutes(Router&, JobService&, const ServeOptions&) {}
void AddInternalRoutes(Router&, JobService&, const ServeOptions&) {}
void AddControlnetRoutes(Router&, JobService&, const ServeOptions&) {}
void AddIngotRoutes(Router&, JobService&, const ServeOptions&) {}
void AddOpenaiRoutes(Router&, JobService&, const ServeOptions&) {}

}  // namespace server
}  // namespace ingot
