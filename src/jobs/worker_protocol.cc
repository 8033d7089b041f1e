#include "jobs/worker_protocol.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "jobs/job_row.h"

namespace ingot {

MessageStream::~MessageStream() { ::close(descriptor_); }

Status MessageStream::Send(const Json& message) {
  const std::string line = Dump(message) + "\n";
  const std::lock_guard lock(send_mutex_);
  for (size_t at = 0; at < line.size();) {
    const ssize_t count = ::send(descriptor_, line.data() + at, line.size() - at, MSG_NOSIGNAL);
    if (count < 0) {
      if (errno == EINTR) continue;
      return Unavailable("worker socket: expected to take a message, found: {}",
                         std::strerror(errno));
    }
    at += static_cast<size_t>(count);
  }
  return {};
}

Result<Json> MessageStream::Receive() {
  while (true) {
    INGOT_ASSIGN_OR_RETURN(std::optional<Json> message, TakeLine());
    if (message) return *std::move(message);
    INGOT_RETURN_IF_ERROR(Fill(0).status());
  }
}

Result<std::optional<Json>> MessageStream::ReceiveArrived() {
  while (true) {
    INGOT_ASSIGN_OR_RETURN(std::optional<Json> message, TakeLine());
    if (message) return message;
    INGOT_ASSIGN_OR_RETURN(const bool came, Fill(MSG_DONTWAIT));
    if (!came) return std::optional<Json>();
  }
}

Result<std::optional<Json>> MessageStream::TakeLine() {
  const size_t end = buffer_.find('\n', searched_);
  if (end == std::string::npos) {
    searched_ = buffer_.size();
    if (buffer_.size() > kMaxMessageBytes) {
      return Corruption("worker socket: expected a line of {} bytes at most, found a longer one",
                        kMaxMessageBytes);
    }
    return std::optional<Json>();
  }
  Json message = Json::parse(buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(end),
                             nullptr, /*allow_exceptions=*/false);
  buffer_.erase(0, end + 1);
  searched_ = 0;
  if (!message.is_object()) return Corruption("worker socket: expected an object, found none");
  return std::optional(std::move(message));
}

Result<bool> MessageStream::Fill(int flags) {
  std::array<char, 64 << 10> bytes;
  while (true) {
    const ssize_t count = ::recv(descriptor_, bytes.data(), bytes.size(), flags);
    if (count > 0) {
      buffer_.append(bytes.data(), static_cast<size_t>(count));
      return true;
    }
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    return Unavailable("worker socket: expected a message, found: {}",
                       count == 0 ? "the end of the stream" : std::strerror(errno));
  }
}

Json DeviceToJson(const DeviceOptions& device) {
  if (const auto* cuda = std::get_if<CudaOptions>(&device)) {
    return {{"cuda", {{"vram_bytes", cuda->vram_bytes}}}};
  }
  if (const auto* sim = std::get_if<SimOptions>(&device)) {
    return {
        {"sim", {{"vram_bytes", sim->vram_bytes}, {"link_bytes_per_s", sim->link_bytes_per_s}}}};
  }
  return Json::object();
}

DeviceOptions DeviceFromJson(const Json& message) {
  if (const auto cuda = message.find("cuda"); cuda != message.end()) {
    return CudaOptions{.vram_bytes = NumberOf(*cuda, "vram_bytes").value_or(0)};
  }
  if (const auto sim = message.find("sim"); sim != message.end()) {
    return SimOptions{.vram_bytes = NumberOf(*sim, "vram_bytes").value_or(0),
                      .link_bytes_per_s = sim->value("link_bytes_per_s", 0.0)};
  }
  return CpuDeviceOptions{};
}

Json FaultToJson(const Status& status) {
  return {{"code", Name(status.code())}, {"error", status.message()}};
}

Status FaultFromJson(const Json& message) {
  const std::optional<StatusCode> code = FindStatusCode(TextOf(message, "code"));
  return {code && *code != StatusCode::kOk ? *code : StatusCode::kUnavailable,
          TextOf(message, "error")};
}

std::string TextOf(const Json& message, const char* key) {
  const auto found = message.find(key);
  return found != message.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<int64_t> NumberOf(const Json& message, const char* key) {
  const auto found = message.find(key);
  if (found == message.end() || !found->is_number()) return std::nullopt;
  return found->get<int64_t>();
}

}  // namespace ingot
