#include "jobs/job_row.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <utility>

namespace ingot {
namespace {

constexpr std::array<std::pair<JobState, std::string_view>, 6> kStates = {
    {{JobState::kQueued, "queued"},
     {JobState::kRunning, "running"},
     {JobState::kDone, "done"},
     {JobState::kFailed, "failed"},
     {JobState::kCancelled, "cancelled"},
     {JobState::kQuarantined, "quarantined"}}};

constexpr std::array<std::pair<StatusCode, std::string_view>, 9> kCodes = {
    {{StatusCode::kOk, "Ok"},
     {StatusCode::kInvalidArgument, "InvalidArgument"},
     {StatusCode::kNotFound, "NotFound"},
     {StatusCode::kCorruption, "Corruption"},
     {StatusCode::kUnsupported, "Unsupported"},
     {StatusCode::kNotFinite, "NotFinite"},
     {StatusCode::kOutOfBudget, "OutOfBudget"},
     {StatusCode::kCancelled, "Cancelled"},
     {StatusCode::kUnavailable, "Unavailable"}}};

template <typename T, size_t N>
std::string_view NameOf(const std::array<std::pair<T, std::string_view>, N>& table, T value) {
  const auto found = std::ranges::find(table, value, &std::pair<T, std::string_view>::first);
  INGOT_CHECK(found != table.end());
  return found->second;
}

template <typename T, size_t N>
std::optional<T> Find(const std::array<std::pair<T, std::string_view>, N>& table,
                      std::string_view name) {
  const auto found = std::ranges::find(table, name, &std::pair<T, std::string_view>::second);
  return found == table.end() ? std::nullopt : std::optional(found->first);
}

}  // namespace

std::string_view Name(JobState state) { return NameOf(kStates, state); }
std::optional<JobState> FindJobState(std::string_view name) { return Find(kStates, name); }
bool IsEnded(JobState state) { return state != JobState::kQueued && state != JobState::kRunning; }

std::string_view Name(StatusCode code) { return NameOf(kCodes, code); }
std::optional<StatusCode> FindStatusCode(std::string_view name) { return Find(kCodes, name); }

std::string ModelOf(const Json& job) {
  const auto files = job.is_object() ? job.find("files") : job.end();
  if (files == job.end() || !files->is_object()) return {};
  const auto file = files->find("diffusion");
  if (file == files->end() || !file->is_string()) return {};
  return std::filesystem::path(file->get<std::string>()).stem().string();
}

}  // namespace ingot
