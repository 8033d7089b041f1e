#include "engine/json.h"

#include <set>

#include "engine/engine.h"
#include "engine/refusal.h"

namespace ingot {
namespace {

// Reads the keys of one object; remembers the first fault.
class Fields {
 public:
  Fields(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) Fail("", "an object", json);
  }

  void Read(const char* key, std::optional<std::string>& value) {
    if (const Json* found = Find(key)) {
      if (!found->is_string()) return Fail(key, "a string", *found);
      value = found->get<std::string>();
    }
  }
  void Read(const char* key, std::string& value) {
    std::optional<std::string> text;
    Read(key, text);
    if (text) value = *std::move(text);
  }
  void Read(const char* key, std::optional<std::filesystem::path>& value) {
    std::optional<std::string> text;
    Read(key, text);
    if (text) value = *std::move(text);
  }
  void Read(const char* key, std::optional<int>& value) {
    if (const Json* found = Find(key)) {
      constexpr int64_t kLimit = int64_t{1} << 30;  // the job's own limits are far below
      if (!found->is_number_integer() || !InRange(*found, -kLimit, kLimit)) {
        return Fail(key, "a whole number", *found);
      }
      value = found->get<int>();
    }
  }
  void Read(const char* key, std::optional<uint64_t>& value) {
    if (const Json* found = Find(key)) {
      if (!found->is_number_unsigned() &&
          !(found->is_number_integer() && found->get<int64_t>() >= 0)) {
        return Fail(key, "a whole number from 0 to 18446744073709551615", *found);
      }
      value = found->get<uint64_t>();
    }
  }
  void Read(const char* key, std::optional<double>& value) {
    if (const Json* found = Find(key)) {
      if (!found->is_number()) return Fail(key, "a number", *found);
      value = found->get<double>();
    }
  }
  // The object under `key`, or an empty one.
  const Json& Object(const char* key) {
    static const Json kEmpty = Json::object();
    const Json* found = Find(key);
    return found != nullptr ? *found : kEmpty;
  }
  void Ignore(const char* key) { known_.insert(key); }

  // After all reads.
  Status Finish() {
    if (!status_.ok()) return status_;
    for (const auto& [key, value] : json_.items()) {
      if (!known_.contains(key)) {
        return InvalidArgument("{}: expected a field of a job, found '{}'", where_, key);
      }
    }
    return {};
  }

 private:
  static bool InRange(const Json& json, int64_t low, int64_t high) {
    if (json.is_number_unsigned()) return json.get<uint64_t>() <= static_cast<uint64_t>(high);
    return json.get<int64_t>() >= low && json.get<int64_t>() <= high;
  }
  const Json* Find(const char* key) {
    known_.insert(key);
    if (!status_.ok()) return nullptr;
    const auto found = json_.find(key);
    return found == json_.end() || found->is_null() ? nullptr : &*found;
  }
  void Fail(const char* key, const char* expected, const Json& found) {
    status_ = InvalidArgument("{}{}{}: expected {}, found {}", where_, *key != 0 ? "." : "", key,
                              expected, Dump(found).substr(0, 80));
  }

  const Json& json_;
  const std::string where_;
  std::set<std::string, std::less<>> known_;
  Status status_;
};

Json Measured(const JobResult& result) {
  Json phases = Json::array();
  for (const PhaseMeasure& phase : result.record.phases) {
    phases.push_back({{"name", phase.name},
                      {"seconds", phase.seconds},
                      {"load_s", phase.load_s},
                      {"step_s", phase.step_s},
                      {"streamed_bytes", phase.streamed_bytes},
                      {"stalled_s", phase.stalled_s},
                      {"refits", phase.num_refits}});
  }
  return {{"peak_ram_bytes", result.measured_peak_bytes},
          {"peak_vram_bytes", result.measured_peak_vram_bytes},
          {"kept_bytes", result.record.kept_bytes},
          {"kept_vram_bytes", result.record.kept_vram_bytes},
          {"phases", phases}};
}

}  // namespace

std::string Dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

Json ToJson(const Job& job) {
  const ModelSet& models = job.models;
  return {{"prompt", job.prompt},
          {"negative_prompt", job.negative_prompt},
          {"width", job.width},
          {"height", job.height},
          {"steps", job.steps},
          {"batch", job.batch},
          {"seed", job.seed},
          {"sampler", job.sampler->name},
          {"scheduler", job.scheduler->label},
          {"rng", job.rng == Rng::kCpu ? "cpu" : "nv"},
          {"precision", Name(job.precision)},
          {"cfg", job.cfg_scale},
          {"guidance", job.distilled_guidance},
          {"eta", job.eta ? Json(*job.eta) : Json()},
          {"min_text_tokens", job.min_text_tokens},
          {"numerics", kNumericsVersion},
          {"files",
           {{"diffusion", models.flux.path()},
            {"clip", models.clip.path()},
            {"t5", models.t5.path()},
            {"vae", models.vae.path()}}}};
}

Result<JobRequest> JobRequestFromJson(const Json& json, const std::filesystem::path& models_dir) {
  JobRequest request;
  request.models.models_dir = models_dir;
  Fields job(json, "job");
  job.Read("prompt", request.prompt);
  job.Read("negative_prompt", request.negative_prompt);
  job.Read("width", request.width);
  job.Read("height", request.height);
  job.Read("steps", request.steps);
  job.Read("batch", request.batch);
  job.Read("seed", request.seed);
  job.Read("sampler", request.sampler);
  job.Read("scheduler", request.scheduler);
  job.Read("rng", request.rng);
  job.Read("precision", request.precision);
  job.Read("cfg", request.cfg_scale);
  job.Read("guidance", request.distilled_guidance);
  job.Read("eta", request.eta);
  job.Read("model", request.models.model);
  job.Ignore("min_text_tokens");
  job.Ignore("numerics");
  const Json& files_json = job.Object("files");
  INGOT_RETURN_IF_ERROR(job.Finish());
  Fields files(files_json, "job.files");
  files.Read("diffusion", request.models.diffusion);
  files.Read("clip", request.models.clip);
  files.Read("t5", request.models.t5);
  files.Read("vae", request.models.vae);
  INGOT_RETURN_IF_ERROR(files.Finish());
  return request;
}

Json ToJson(const Plan& plan) {
  Json phases = Json::array();
  for (const PhasePlan& phase : plan.phases) {
    phases.push_back({{"name", phase.name},
                      {"arena_bytes", phase.arena_bytes},
                      {"max_live_bytes", phase.max_live_bytes},
                      {"resident_bytes", phase.resident_bytes},
                      {"ring_bytes", phase.ring_bytes},
                      {"num_runs", phase.num_runs},
                      {"streamed_bytes", phase.streamed_bytes},
                      {"vram_bytes", phase.vram_bytes},
                      {"host_bytes", phase.host_bytes},
                      {"held_bytes", phase.held_bytes},
                      {"num_parts", phase.num_parts},
                      {"scratch_bytes", phase.scratch_bytes},
                      {"carried_bytes", phase.carried_bytes},
                      {"predicted_s", phase.predicted_s ? Json(*phase.predicted_s) : Json()}});
  }
  return {{"peak_ram_bytes", plan.peak_ram_bytes()},
          {"peak_vram_bytes", plan.peak_vram_bytes()},
          {"fixed_bytes", plan.fixed_bytes},
          {"fixed_vram_bytes", plan.fixed_vram_bytes},
          {"predicted_s", plan.predicted_s() ? Json(*plan.predicted_s()) : Json()},
          {"phases", phases},
          {"explanation", ExplainPlan(plan)}};
}

Json ToJson(const Status& refusal, std::span<const JobChange> changes) {
  Json list = Json::array();
  for (const JobChange& change : changes) {
    if (change.budget_bytes) {
      list.push_back({{"memory_bytes", *change.budget_bytes}});
    } else {
      list.push_back({{"width", change.shape->width},
                      {"height", change.shape->height},
                      {"batch", change.shape->batch}});
    }
  }
  return {{"message", refusal.message()}, {"changes", list}};
}

Json ToJson(const JobResult& result) {
  Json images = Json::array();
  for (const SavedPicture& image : result.images) {
    images.push_back({{"path", image.path.string()},
                      {"seed", image.seed},
                      {"sha256", image.sha256},
                      {"infotext", image.infotext}});
  }
  return {{"images", images},
          {"interrupted", result.is_interrupted},
          {"plan", ToJson(result.record.plan)},
          {"measured", Measured(result)}};
}

}  // namespace ingot
