// /openapi.json and /docs, made of the table that validates.
#pragma once

#include "server/router.h"

namespace ingot::server {

// OpenAPI 3.1 of all routes. `has_auth`: credentials are asked.
Json OpenApi(const Router& router, bool has_auth);

// /openapi.json, and /docs, a page that shows it and lets one try; of all routes that the table has
// when they are asked.
void AddDocumentationRoutes(Router& router, bool has_auth);

}  // namespace ingot::server
