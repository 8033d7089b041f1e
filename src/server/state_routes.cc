// What a page shows of the server itself: its state and its log.
#include <charconv>
#include <filesystem>

#include "server/api.h"
#include "server/routes.h"

namespace ingot::server {
namespace {

constexpr const char* kTag = "ingot";
constexpr size_t kDefaultLines = 200;

using Clock = std::chrono::steady_clock;

// What --vram says; null where nothing is said.
Json VramLimit(const DeviceOptions& device) {
  if (const auto* sim = std::get_if<SimOptions>(&device)) return sim->vram_bytes;
  const auto* cuda = std::get_if<CudaOptions>(&device);
  return cuda != nullptr && cuda->vram_bytes > 0 ? Json(cuda->vram_bytes) : Json();
}

Json StateJson(JobService& jobs, const ServeOptions& options, const std::string& url,
               double uptime_s) {
  const ServiceState state = jobs.State();
  return {{"version", INGOT_VERSION},
          {"numerics", kNumericsVersion},
          {"url", url},
          {"uptime_s", uptime_s},
          {"has_auth", !options.api_auth.empty()},
          {"has_tls", !options.tls_certfile.empty()},
          {"worker",
           {{"alive", state.worker_alive},
            {"num_starts", state.num_worker_starts},
            {"num_deaths", state.num_worker_deaths}}},
          {"jobs",
           {{"running", state.running ? Json(state.running->id) : Json()},
            {"num_queued", state.num_queued},
            {"num_done", state.num_done},
            {"num_failed", state.num_failed},
            {"num_cancelled", state.num_cancelled},
            {"num_quarantined", state.num_quarantined}}},
          {"memory", MemoryJson(jobs.Memory())},
          {"device",
           {{"name", NameOf(options.device)},
            {"vram_bytes", VramLimit(options.device)},
            {"num_threads", options.num_threads}}},
          {"folders",
           {{"models", std::filesystem::absolute(options.models_dir).string()},
            {"data", std::filesystem::absolute(options.data_dir).string()},
            {"scratch", options.scratch_folder.empty() ? kDefaultScratchFolder
                                                       : options.scratch_folder.string()}}}};
}

}  // namespace

void AddStateRoutes(Router& router, JobService& jobs, const ServeOptions& options,
                    const LogTail& log, std::function<std::string()> url) {
  router.Add(GetRoute("/ingot/v1/state", "How the server is, and how it was started", kTag,
                      [&jobs, &options, url = std::move(url),
                       started = Clock::now()](const Request&) -> Result<Json> {
                        const std::chrono::duration<double> uptime = Clock::now() - started;
                        return StateJson(jobs, options, url(), uptime.count());
                      }));
  Route lines =
      GetRoute("/ingot/v1/logs", "The last lines of the log, the oldest first", kTag,
               [&log](const Request& request) -> Result<Json> {
                 size_t limit = kDefaultLines;
                 if (const auto given = request.query.find("limit"); given != request.query.end()) {
                   const std::string& text = given->second;
                   std::from_chars(text.data(), text.data() + text.size(), limit);
                 }
                 Json lines = Json::array();
                 for (const std::string& line : log.Last(limit)) {
                   lines.push_back(Json::parse(line, nullptr, false));
                 }
                 return Json{{"lines", lines}};
               });
  lines.query = Schema{.name = "LogsQuery",
                       .fields = {{.name = "limit",
                                   .type = FieldType::kInteger,
                                   .default_value = kDefaultLines,
                                   .minimum = 1,
                                   .maximum = static_cast<double>(LogTail::kMaxLines)}}};
  router.Add(std::move(lines));
}

}  // namespace ingot::server
