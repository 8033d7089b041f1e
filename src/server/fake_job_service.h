// A JobService for tests of the server: it runs nothing and keeps its jobs in memory.
#pragma once

#include <map>
#include <mutex>

#include "jobs/job_service.h"

namespace ingot {

class FakeJobService : public JobService {
 public:
  Result<Json> Ask(std::string_view, const Json&) override { return Json::object(); }
  Result<JobRow> Submit(const Submission& submission) override {
    const std::lock_guard lock(mutex_);
    JobRow row = {.id = std::to_string(jobs_.size() + 1), .job = submission.request};
    return jobs_.emplace(row.id, row).first->second;
  }
  Result<JobRow> Get(std::string_view id) override {
    const std::lock_guard lock(mutex_);
    const auto found = jobs_.find(std::string(id));
    if (found == jobs_.end()) return NotFound("job {}: expected one of the queue, found none", id);
    return found->second;
  }
  Result<JobPage> List(const JobFilter&) override { return JobPage(); }
  Result<int> Position(std::string_view) override { return 0; }
  Status Cancel(std::string_view) override { return {}; }
  bool Interrupt() override { return false; }
  Status Reprioritise(std::string_view, int) override { return {}; }
  Status Remove(std::string_view) override { return {}; }
  std::unique_ptr<Subscription> Subscribe(std::string_view, uint64_t, EventSink) override {
    return std::make_unique<Subscription>();
  }
  ServiceState State() override {
    const std::lock_guard lock(mutex_);
    return state_;
  }
  Status SetMemory(std::optional<int64_t>) override { return {}; }
  Status Forget() override { return {}; }
  Result<std::optional<Json>> Load(std::string_view) override { return std::optional<Json>(); }
  Status Store(std::string_view, const Json&) override { return {}; }

  void set_state(const ServiceState& state) {
    const std::lock_guard lock(mutex_);
    state_ = state;
  }

 private:
  std::mutex mutex_;
  ServiceState state_ = {.worker_alive = true};
  std::map<std::string, JobRow> jobs_;
};

}  // namespace ingot
