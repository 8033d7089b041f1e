// A job in the queue and in the history: what was asked, where it stands, what came of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/json.h"

namespace ingot {

// queued -> running -> done | failed | cancelled | quarantined; running -> queued when the worker
// died.
enum class JobState : uint8_t { kQueued, kRunning, kDone, kFailed, kCancelled, kQuarantined };
std::string_view Name(JobState state);
std::optional<JobState> FindJobState(std::string_view name);
bool IsEnded(JobState state);

// "Ok", "InvalidArgument", …: JobRow::error_code.
std::string_view Name(StatusCode code);
std::optional<StatusCode> FindStatusCode(std::string_view name);

struct JobRow {
  std::string id;  // letters and digits; sorts by the time it was accepted
  JobState state = JobState::kQueued;
  int priority = 0;
  std::string client;
  Json job;                // resolved (ToJson(Job))
  Json door_state;         // Submission::door_state
  Json plan;               // of its last run, else of its acceptance
  Json record;             // done: ToJson(JobResult) with absolute paths of the pictures
  std::string error;       // failed, quarantined: one line
  std::string error_code;  // name of the StatusCode
  int num_deaths = 0;      // of workers, of its own making
  double accepted = 0, started = 0, finished = 0;  // seconds since the epoch; 0: not yet
  int num_images = 0;                              // done: of its pictures
};

// Of a queued job: where it shall stand.
struct JobMove {
  std::optional<int> priority;
  // So many jobs stand before it; the last place where they are fewer. Where its priority would not
  // let it stand there it takes that of the one before or behind it.
  std::optional<int> position;
};

struct JobFilter {
  std::optional<JobState> state;
  std::string client, search;          // in prompts; empty: all
  std::string model;                   // ModelOf(job); empty: all
  std::optional<double> since, until;  // when it was accepted: from, and before
  std::string before_id;               // newest first; of a page the last id of the one before
  int limit = 50;
  // Rows without door_state, plan and record, which are most of them; of prompts 300 characters.
  bool is_brief = false;
};

struct JobPage {
  std::vector<JobRow> jobs;
  int64_t num_total = 0, num_images = 0;  // that the filter has
};

// The diffusion file of a resolved job, without folder and extension; empty where there is none.
std::string ModelOf(const Json& job);

}  // namespace ingot
