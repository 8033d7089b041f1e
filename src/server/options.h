// The settings of Forge's `options`: what GET shows, POST keeps and jobs begin with.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "jobs/job_service.h"
#include "server/model_catalog.h"

namespace ingot::server {

// What a setting does here.
enum class OptionUse : uint8_t {
  kHonoured,  // by sdapi_request.cc
  kShown,     // kept for the client; changes no picture that Ingot makes
  kFixed,     // would change the picture: another value than the default is refused
};

struct Option {
  std::string_view name;
  OptionUse use;
  Json default_value;
};

std::span<const Option> AllOptions();
const Option* FindOption(std::string_view name);

// Equal as Forge's clients write values: 1, 1.0 and "1" are one, and so are "None" and "none".
bool SameValue(const Json& a, const Json& b);

// Checks one value of POST /options or of override_settings: kInvalidArgument or kNotFound names
// `field`. Unknown names and null are fine: they say nothing.
Status CheckOption(std::string_view name, const Json& value, std::string_view field,
                   ModelCatalog& models);

// Thread-safe: the service keeps the values.
class OptionStore {
 public:
  OptionStore(JobService& jobs, ModelCatalog& models) : jobs_(jobs), models_(models) {}

  // Every option, in the table's order.
  Result<Json> All();
  // All names that are known and whose value is another; nothing is kept when one is refused.
  Status Set(const Json& changes);

 private:
  JobService& jobs_;
  ModelCatalog& models_;
};

}  // namespace ingot::server
