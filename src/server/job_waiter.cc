#include "server/job_waiter.h"

#include <utility>
#include <vector>

namespace ingot::server {

bool EndsJob(std::string_view event) {
  return event == "done" || event == "failed" || event == "cancelled" || event == "quarantined";
}
JobWaiter::JobWaiter(JobService& jobs) : jobs_(jobs) {
  subscription_ = jobs_.Subscribe("", 0, [this](const JobEvent& event) {
    if (EndsJob(event.type)) tasks_->Post([this, id = event.job_id] { Finish(id); });
  });
  thread_ = std::thread([tasks = tasks_] { Run(*tasks); });
}

JobWaiter::~JobWaiter() {
  subscription_.reset();
  {
    const std::lock_guard lock(tasks_->mutex);
    tasks_->ends = true;
  }
  tasks_->changed.notify_all();
  thread_.join();
}

JobWaiter::Task JobWaiter::Wait(const std::string& job_id, Done done) {
  uint64_t wait_id = 0;
  {
    const std::lock_guard lock(mutex_);
    wait_id = ++last_wait_id_;
    waiting_[wait_id] = {job_id, std::move(done)};
  }
  // It may have ended before anybody waited.
  tasks_->Post([this, job_id] {
    const Result<JobRow> row = jobs_.Get(job_id);
    if (!row.ok() || IsEnded(row->state)) Finish(job_id);
  });
  return [tasks = tasks_, this, wait_id] { tasks->Post([this, wait_id] { Drop(wait_id); }); };
}

std::function<void(JobWaiter::Task)> JobWaiter::poster() const {
  return [tasks = tasks_](Task task) { tasks->Post(std::move(task)); };
}

void JobWaiter::Tasks::Post(Task task) {
  {
    const std::lock_guard lock(mutex);
    if (ends) return;
    queue.push_back(std::move(task));
  }
  changed.notify_one();
}

void JobWaiter::Run(Tasks& tasks) {
  std::unique_lock lock(tasks.mutex);
  while (true) {
    tasks.changed.wait(lock, [&] { return tasks.ends || !tasks.queue.empty(); });
    if (tasks.queue.empty())
      return;  // what is there is done before the end: it frees subscriptions
    {
      const std::function<void()> task = std::move(tasks.queue.front());
      tasks.queue.pop_front();
      lock.unlock();
      task();
    }  // what it holds goes without the lock
    lock.lock();
  }
}

void JobWaiter::Finish(const std::string& job_id) {
  std::vector<Done> finished;
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(waiting_, [&](auto& entry) {
      if (entry.second.job_id != job_id) return false;
      finished.push_back(std::move(entry.second.done));
      return true;
    });
  }
  if (finished.empty()) return;
  const Result<JobRow> row = jobs_.Get(job_id);
  for (const Done& done : finished) done(row);
}

void JobWaiter::Drop(uint64_t wait_id) {
  std::string job_id;
  {
    const std::lock_guard lock(mutex_);
    const auto found = waiting_.find(wait_id);
    if (found == waiting_.end()) return;
    job_id = found->second.job_id;
    waiting_.erase(found);
    for (const auto& [id, waiting] : waiting_) {
      if (waiting.job_id == job_id) return;
    }
  }
  const Result<JobRow> row = jobs_.Get(job_id);
  if (row.ok() && row->state == JobState::kQueued) (void)jobs_.Cancel(job_id);
}

}  // namespace ingot::server
