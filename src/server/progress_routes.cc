// How far the running job is: /sdapi/v1/progress, and Forge's /internal by task.
#include <algorithm>
#include <ctime>

#include "base/base64.h"
#include "server/api.h"

namespace ingot::server {
namespace {

constexpr const char* kTag = "internal";
constexpr int kMaxTasks = 200;  // that are looked through

std::string JobTimestamp(double seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm local = {};
  localtime_r(&time, &local);
  char text[32];
  return std::string(text, std::strftime(text, sizeof(text), "%Y%m%d%H%M%S", &local));
}

// Sampling is nearly all of a job; what comes before counts as nothing, what comes after as all.
double ShareDone(const RunningJob& job) {
  if (job.phase == "decode") return 1;
  if (job.phase != "sampling" || job.num_steps <= 0) return 0;
  return std::clamp(static_cast<double>(job.step) / job.num_steps, 0.0, 1.0);
}

// Forge's numbers, where waiting jobs count as busy: clients wait for job_count 0.
Json ProgressJson(const ServiceState& state, bool with_image) {
  const bool is_busy = state.running || state.num_queued > 0;
  const RunningJob job = state.running.value_or(RunningJob{});
  const bool is_sampling = job.phase == "sampling";
  return {{"progress", state.running ? std::min(1.0, 0.01 + ShareDone(job)) : 0.0},
          {"eta_relative", state.running ? job.eta_s : 0.0},
          {"state",
           {{"skipped", false},
            {"interrupted", false},
            {"stopping_generation", false},
            {"job", is_busy ? "scripts_txt2img" : ""},
            {"job_count", is_busy ? 1 : 0},
            {"job_timestamp", state.running ? JobTimestamp(job.started) : "0"},
            {"job_no", 0},
            {"sampling_step", is_sampling ? job.step : 0},
            {"sampling_steps", is_sampling ? job.num_steps : 0}}},
          {"current_image",
           with_image && !job.preview_png.empty() ? Json(EncodeBase64(job.preview_png)) : Json()},
          {"textinfo", nullptr}};
}

std::string TaskOf(const JobRow& job) {
  const auto task =
      job.door_state.is_object() ? job.door_state.find("task_id") : job.door_state.end();
  const bool is_named = job.door_state.is_object() && task != job.door_state.end() &&
                        task->is_string() && *task != "";
  return is_named ? task->get<std::string>() : job.id;
}

// By force_task_id, or the job's own id; the newest that has it.
std::optional<JobRow> FindTask(JobService& jobs, const std::string& task) {
  if (task.empty()) return std::nullopt;
  if (const Result<JobRow> row = jobs.Get(task); row.ok()) return *row;
  const Result<JobPage> page = jobs.List({.limit = kMaxTasks});
  if (!page.ok()) return std::nullopt;
  for (const JobRow& job : page->jobs) {
    if (TaskOf(job) == task) return job;
  }
  return std::nullopt;
}

Json TaskProgress(JobService& jobs, const Json& body) {
  const std::string task = body.value("id_task", "");
  const std::optional<JobRow> job = FindTask(jobs, task);
  const bool is_queued = job && job->state == JobState::kQueued;
  Json answer = {{"active", false},
                 {"queued", is_queued},
                 {"completed", job && IsEnded(job->state)},
                 {"progress", nullptr},
                 {"eta", nullptr},
                 {"live_preview", nullptr},
                 {"id_live_preview", body.value("id_live_preview", -1)},
                 {"textinfo", "Waiting..."}};
  if (!job) return answer;
  const ServiceState state = jobs.State();
  if (is_queued) {
    const Result<int> before = jobs.Position(job->id);
    answer["textinfo"] =
        fmt::format("In queue: {}/{}", (before.ok() ? *before : 0) + 1, state.num_queued);
  }
  if (!state.running || state.running->id != job->id) return answer;
  const RunningJob& running = *state.running;
  answer["active"] = true;
  answer["progress"] = ShareDone(running);
  answer["eta"] = running.eta_s;
  answer["textinfo"] = nullptr;
  const bool is_new = running.preview_step != body.value("id_live_preview", -1);
  if (body.value("live_preview", true) && is_new && !running.preview_png.empty()) {
    answer["live_preview"] = "data:image/png;base64," + EncodeBase64(running.preview_png);
    answer["id_live_preview"] = running.preview_step;
  }
  return answer;
}

Result<Json> PendingTasks(JobService& jobs) {
  Json tasks = Json::array();
  INGOT_ASSIGN_OR_RETURN(const JobPage page,
                         jobs.List({.state = JobState::kQueued, .limit = kMaxTasks}));
  for (auto job = page.jobs.rbegin(); job != page.jobs.rend(); ++job) tasks.push_back(TaskOf(*job));
  return Json{{"size", page.num_total}, {"tasks", tasks}};
}

// What is asked of gradio's page by clients that look whether it is there: aiyabot, Photoshop.
void AddGradioRoutes(Router& router) {
  const auto add = [&](const char* pattern, const char* summary, Json answer) {
    Route route = GetRoute(pattern, summary, kTag,
                           [answer](const Request&) -> Result<Json> { return answer; });
    route.may_block = false;
    router.Add(std::move(route));
  };
  add("/user", "No user: the page has no login", Json::object());
  add("/config", "Of gradio's page, what aiyabot reads",
      {{"version", "4.40.0"},
       {"components",
        Json::array(
            {{{"props", {{"elem_id", "txt2img_hr_upscaler"}, {"choices", Json::array()}}}}})}});
}

}  // namespace

void AddProgressRoutes(Router& router, const ApiPtr& api) {
  Route progress = GetRoute("/sdapi/v1/progress", "How far the running job is", "sdapi",
                            [api](const Request& request) -> Result<Json> {
                              const auto skip = request.query.find("skip_current_image");
                              return ProgressJson(api->jobs.State(), skip == request.query.end() ||
                                                                         skip->second != "true");
                            });
  progress.query = Schema{.name = "ProgressQuery",
                          .fields = {{.name = "skip_current_image", .type = FieldType::kBoolean}}};
  progress.may_block = false;  // polled by everybody: no request waits before it
  router.Add(std::move(progress));

  router.Add({.method = "POST",
              .pattern = "/internal/progress",
              .summary = "How far a task is: force_task_id, or a job's id",
              .tag = kTag,
              .body = Schema{.name = "TaskProgressRequest",
                             .fields = {{.name = "id_task", .type = FieldType::kString},
                                        {.name = "id_live_preview",
                                         .type = FieldType::kInteger,
                                         .minimum = -1,
                                         .maximum = 1 << 30},
                                        {.name = "live_preview", .type = FieldType::kBoolean}}},
              .handler =
                  [api](const Request&, const Json& body, const ResponderPtr& responder) {
                    responder->Send(JsonResponse(TaskProgress(api->jobs, body)));
                  },
              .changes_state = false});
  router.Add(GetRoute("/internal/pending-tasks", "Queued tasks, the next one first", kTag,
                      [api](const Request&) { return PendingTasks(api->jobs); }));
  router.Add(GetRoute("/internal/ping", "Alive", kTag,
                      [](const Request&) -> Result<Json> { return Json::object(); }));
  AddGradioRoutes(router);
}

}  // namespace ingot::server
