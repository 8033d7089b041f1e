// A JobService in memory: what is submitted is done when the test says so.
#pragma once

#include <filesystem>
#include <map>
#include <mutex>

#include "base/file.h"
#include "jobs/job_service.h"

namespace ingot::server {

class FakeJobService : public JobService {
 public:
  // Answers of Ask, by question.
  std::map<std::string, Json, std::less<>> answers = {{"models", Json::parse(R"({"models": [
    {"path": "/m/Stable-diffusion/ingot-demo.gguf",
     "sha256": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
     "components": [{"component": "Flux transformer"}]},
    {"path": "/m/Stable-diffusion/flux/schnell-Q4_0.gguf",
     "components": [{"component": "Flux transformer"}]},
    {"path": "/m/VAE/ae.safetensors", "components": [{"component": "VAE"}]},
    {"path": "/m/text_encoder/t5.gguf", "components": [{"component": "T5 text encoder"}]},
    {"path": "/m/text_encoder/clip_l.safetensors",
     "components": [{"component": "CLIP-L text encoder"}]},
    {"path": "/m/broken.gguf", "error": "broken.gguf: ends early"}]})")}};
  Status submit_status;  // of the next Submit, when it is not ok
  std::vector<Submission> submissions;
  std::vector<std::string> cancelled;
  std::vector<JobMove> moves;
  ServiceState state = {.worker_alive = true};
  std::map<std::string, Json, std::less<>> stored;
  int num_asked = 0, num_forgotten = 0, num_interrupted = 0;
  std::optional<int64_t> memory_bytes;

  // Ends a job with these files as its pictures, and tells those who listen.
  void Finish(const std::string& id, JobState end, const std::vector<std::string>& paths = {}) {
    {
      const std::lock_guard lock(mutex_);
      JobRow& job = rows_.at(id);
      job.state = end;
      Json images = Json::array();
      for (size_t i = 0; i < paths.size(); ++i) {
        images.push_back({{"path", paths[i]},
                          {"seed", job.job.value("seed", uint64_t{0}) + i},
                          {"sha256", "0"},
                          {"infotext", "p\nSteps: 2, Sampler: Euler, Seed: 1, Model hash: abc"}});
      }
      if (end == JobState::kDone) job.record = {{"images", images}, {"measured", Json::object()}};
    }
    Emit({.job_id = id, .type = std::string(Name(end)), .data = Json::object()});
  }
  void Emit(JobEvent event) {
    std::vector<EventSink> sinks;
    {
      const std::lock_guard lock(mutex_);
      event.id = events_.size() + 1;
      events_.push_back(event);
      for (const auto& [id, listener] : listeners_) {
        if (listener.job_id.empty() || listener.job_id == event.job_id) {
          sinks.push_back(listener.sink);
        }
      }
    }
    for (const EventSink& sink : sinks) sink(event);
  }
  void SetState(const std::string& id, JobState state) {
    const std::lock_guard lock(mutex_);
    rows_.at(id).state = state;
  }

  Result<Json> Ask(std::string_view question, const Json& argument) override {
    ++num_asked;
    const auto found = answers.find(question);
    if (found == answers.end()) return Json{{"question", question}, {"argument", argument}};
    return found->second;
  }
  Result<JobRow> Submit(const Submission& submission) override {
    if (!submit_status.ok()) return submit_status;
    const std::lock_guard lock(mutex_);
    submissions.push_back(submission);
    JobRow row{.id = "job" + std::to_string(submissions.size()),
               .client = submission.client,
               .job = submission.request,
               .door_state = submission.door_state,
               .plan = {{"peak_ram_bytes", 1}},
               .accepted = 1};
    rows_[row.id] = row;
    return row;
  }
  Result<JobRow> Get(std::string_view id) override {
    const std::lock_guard lock(mutex_);
    const auto found = rows_.find(id);
    if (found == rows_.end()) return NotFound("job {}: no such job", id);
    return found->second;
  }
  Result<JobPage> List(const JobFilter& filter) override {
    const std::lock_guard lock(mutex_);
    JobPage page;
    for (auto row = rows_.rbegin(); row != rows_.rend(); ++row) {
      if (!filter.state || row->second.state == *filter.state) page.jobs.push_back(row->second);
    }
    page.num_total = static_cast<int64_t>(page.jobs.size());
    return page;
  }
  Result<int> Position(std::string_view) override { return 0; }
  Status Cancel(std::string_view id) override {
    cancelled.emplace_back(id);
    Finish(std::string(id), JobState::kCancelled);
    return {};
  }
  bool Interrupt() override {
    ++num_interrupted;
    return true;
  }
  Status Move(std::string_view id, const JobMove& move) override {
    const std::lock_guard lock(mutex_);
    const auto found = rows_.find(id);
    if (found == rows_.end()) return NotFound("job {}: no such job", id);
    if (found->second.state != JobState::kQueued) {
      return InvalidArgument("job {}: expected one that is queued", id);
    }
    moves.push_back(move);
    return {};
  }
  Status Remove(std::string_view id) override {
    const std::lock_guard lock(mutex_);
    rows_.erase(std::string(id));
    return {};
  }
  Status Restore(std::string_view id) override { return Get(id).status(); }
  Result<std::string> Thumbnail(std::string_view id, size_t n, int side) override {
    INGOT_ASSIGN_OR_RETURN(const JobRow job, Get(id));
    return fmt::format("small {} {} {}", job.id, n, side);
  }
  std::vector<JobEvent> PastEvents(std::string_view job_id, uint64_t last_event_id) override {
    const std::lock_guard lock(mutex_);
    std::vector<JobEvent> past;
    for (const JobEvent& event : events_) {
      if (event.id > last_event_id && event.job_id == job_id) past.push_back(event);
    }
    return past;
  }
  std::unique_ptr<Subscription> Subscribe(std::string_view job_id, uint64_t last_event_id,
                                          EventSink sink) override {
    std::vector<JobEvent> past;
    uint64_t id = 0;
    {
      const std::lock_guard lock(mutex_);
      for (const JobEvent& event : events_) {
        if (event.id > last_event_id && (job_id.empty() || event.job_id == job_id)) {
          past.push_back(event);
        }
      }
      id = ++last_listener_;
      listeners_[id] = {std::string(job_id), sink};
    }
    for (const JobEvent& event : past) sink(event);
    return std::make_unique<Listening>(*this, id);
  }
  ServiceState State() override { return state; }
  MemoryState Memory() override { return {}; }
  Status SetMemory(std::optional<int64_t> bytes) override {
    memory_bytes = bytes;
    return {};
  }
  Status Forget() override {
    ++num_forgotten;
    return {};
  }
  Result<std::optional<Json>> Load(std::string_view name) override {
    const std::lock_guard lock(mutex_);
    const auto found = stored.find(name);
    return found == stored.end() ? std::optional<Json>() : std::optional(found->second);
  }
  Status Store(std::string_view name, const Json& value) override {
    const std::lock_guard lock(mutex_);
    stored[std::string(name)] = value;
    return {};
  }

 private:
  struct Listener {
    std::string job_id;
    EventSink sink;
  };
  class Listening : public Subscription {
   public:
    Listening(FakeJobService& jobs, uint64_t id) : jobs_(jobs), id_(id) {}
    ~Listening() override {
      const std::lock_guard lock(jobs_.mutex_);
      jobs_.listeners_.erase(id_);
    }

   private:
    FakeJobService& jobs_;
    const uint64_t id_;
  };

  std::mutex mutex_;
  std::map<std::string, JobRow, std::less<>> rows_;
  std::vector<JobEvent> events_;
  std::map<uint64_t, Listener> listeners_;
  uint64_t last_listener_ = 0;
};

}  // namespace ingot::server
