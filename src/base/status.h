// Result of an operation that can fail for reasons outside the program: a
// malformed file, a bad request, a memory budget that is too small.
//
// A message is one line and names the thing, what was expected and what was
// found. Programmer errors are not statuses; they are INGOT_CHECKs.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>

#include <fmt/format.h>

#include "base/check.h"

namespace ingot {

// Each code has one exit code of the command line (cli/exit_code.h).
enum class StatusCode : uint8_t {
  kOk,
  kInvalidArgument,  // the request is wrong; the caller can fix it
  kNotFound,         // a file, component or model is missing
  kCorruption,       // a file contradicts itself or the format
  kUnsupported,      // the file is sound, but of a kind Ingot does not read
  kNotFinite,        // NaN or Inf came out of a phase
  kOutOfBudget,      // the plan does not fit the memory budget
  kCancelled,        // the caller asked us to stop
  kUnavailable,      // disk full, device lost or absent, permission denied
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

// One factory a code: `return Corruption("{}: magic is {}", path, magic);`
#define INGOT_STATUS_FACTORY(Name)                                                  \
  template <typename... Args>                                                       \
  Status Name(fmt::format_string<Args...> format, Args&&... args) {                 \
    return {StatusCode::k##Name, fmt::format(format, std::forward<Args>(args)...)}; \
  }
INGOT_STATUS_FACTORY(InvalidArgument)
INGOT_STATUS_FACTORY(NotFound)
INGOT_STATUS_FACTORY(Corruption)
INGOT_STATUS_FACTORY(Unsupported)
INGOT_STATUS_FACTORY(NotFinite)
INGOT_STATUS_FACTORY(OutOfBudget)
INGOT_STATUS_FACTORY(Cancelled)
INGOT_STATUS_FACTORY(Unavailable)
#undef INGOT_STATUS_FACTORY

// A T, or the Status that says why there is none.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}
  Result(Status error) : state_(std::move(error)) {
    INGOT_CHECK(!status().ok());  // a Result without value needs a reason
  }

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }

  const T& operator*() const& { return std::get<T>(state_); }
  T& operator*() & { return std::get<T>(state_); }
  T&& operator*() && { return std::get<T>(std::move(state_)); }
  const T* operator->() const { return &std::get<T>(state_); }
  T* operator->() { return &std::get<T>(state_); }

 private:
  std::variant<T, Status> state_;
};

// Returns from the enclosing function when `expression` is not ok.
#define INGOT_RETURN_IF_ERROR(expression)                                      \
  do {                                                                         \
    if (::ingot::Status status_ = (expression); !status_.ok()) return status_; \
  } while (0)

// Declares `declaration` from a Result, or returns its Status:
//   INGOT_ASSIGN_OR_RETURN(const GgufFile file, OpenGguf(path));
#define INGOT_ASSIGN_OR_RETURN(declaration, expression) \
  INGOT_ASSIGN_OR_RETURN_(INGOT_CONCAT_(result_, __LINE__), declaration, expression)
#define INGOT_ASSIGN_OR_RETURN_(result, declaration, expression) \
  auto result = (expression);                                    \
  if (!result.ok()) return result.status();                      \
  declaration = *std::move(result)
#define INGOT_CONCAT_(a, b) INGOT_CONCAT_INNER_(a, b)
#define INGOT_CONCAT_INNER_(a, b) a##b

}  // namespace ingot
