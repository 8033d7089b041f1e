// /controlnet: the lists of the extension, empty until there are models.
#include "server/api.h"

namespace ingot::server {

void AddControlnetRoutes(Router& router) {
  const auto add = [&](const char* name, const char* summary, Json answer) {
    Route route = GetRoute(std::string("/controlnet/") + name, summary, "controlnet",
                           [answer](const Request&) -> Result<Json> { return answer; });
    route.may_block = false;
    router.Add(std::move(route));
  };
  const Json none = Json::array({"None"});
  add("version", "Version of the extension's API", {{"version", 3}});
  add("settings", "Settings of the extension", {{"control_net_unit_count", 3}});
  add("model_list", "ControlNet models: none yet", {{"model_list", none}});
  add("module_list", "Preprocessors: none yet",
      {{"module_list", none},
       {"module_detail", {{"None", {{"model_free", true}, {"sliders", Json::array()}}}}}});
  add("control_types", "Kinds of ControlNet: none yet",
      {{"control_types",
        {{"All",
          {{"module_list", none},
           {"model_list", none},
           {"default_option", "None"},
           {"default_model", "None"}}}}}});
  router.Add({.method = "POST",
              .pattern = "/controlnet/detect",
              .summary = "Refused: there are no preprocessors yet",
              .tag = "controlnet",
              .handler =
                  [](const Request&, const Json&, const ResponderPtr& responder) {
                    responder->Send(ErrorResponse(
                        InvalidArgument("controlnet_module: no preprocessor is there yet")));
                  },
              .changes_state = false,
              .may_block = false});
}

}  // namespace ingot::server
