#include "jobs/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/system_memory.h"

namespace ingot {
namespace {

// Twice as long after each start that came to nothing: a worker that dies in its job is back at
// once, a binary that cannot run does not busy the machine.
constexpr std::chrono::milliseconds kFirstBackoff(50);
constexpr int kMaxDoublings = 7;  // 6.4 s

// A worker that takes no message for so long is stopped or hangs in its reader.
constexpr timeval kSendTimeout = {.tv_sec = 5, .tv_usec = 0};

// Between fork and exec: nothing but async-signal-safe calls.
[[noreturn]] void BecomeWorker(const char* binary, int socket, pid_t server) {
  // The end of the server is the worker's, also while it is stopped. Kept over exec.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != server) ::_exit(127);
  ::setpgid(0, 0);  // Ctrl-C of the terminal is the server's to handle
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // dup2 of a descriptor to itself would leave it close-on-exec.
  if (socket == kWorkerSocket) {
    ::fcntl(socket, F_SETFD, 0);
  } else {
    ::dup2(socket, kWorkerSocket);
  }
  const char* arguments[] = {binary, "worker", nullptr};
  ::execv(binary, const_cast<char* const*>(arguments));
  ::_exit(127);
}

}  // namespace

WorkerDeath DeathOf(int wait_status, bool out_of_memory) {
  if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == kDeviceLostExit) {
    return {.own_making = true, .reason = "the device was lost"};
  }
  if (WIFEXITED(wait_status)) {
    return {.own_making = true, .reason = fmt::format("exit {}", WEXITSTATUS(wait_status))};
  }
  const int signal = WTERMSIG(wait_status);
  if (signal == SIGKILL && out_of_memory) {
    return {.own_making = true, .reason = "killed by the kernel: out of memory"};
  }
  const bool from_outside = signal == SIGKILL || signal == SIGTERM || signal == SIGINT ||
                            signal == SIGHUP || signal == SIGQUIT;
  return {.own_making = !from_outside,
          .reason = fmt::format("signal {} ({})", signal, ::strsignal(signal))};
}

KernelKills::Mark KernelKills::Now() {
  const std::lock_guard lock(mutex_);
  return {.num_kills = CountOutOfMemoryKills(), .num_explained = num_explained_};
}

bool KernelKills::Explains(const Mark& since) {
  const std::lock_guard lock(mutex_);
  const int64_t num_kills = CountOutOfMemoryKills() - since.num_kills;
  if (num_kills <= num_explained_ - since.num_explained) return false;
  ++num_explained_;
  return true;
}

WorkerSupervisor::WorkerSupervisor(Options options, Callbacks callbacks)
    : options_(std::move(options)),
      callbacks_(std::move(callbacks)),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  INGOT_CHECK(wake_ >= 0);
  thread_ = std::thread([this] { Run(); });
}

void WorkerSupervisor::Stop() {
  if (!thread_.joinable()) return;
  ends_ = true;
  Wake();
  thread_.join();
  ::close(wake_);
}

Status WorkerSupervisor::Send(const Json& message) {
  std::shared_ptr<MessageStream> stream;
  {
    const std::lock_guard lock(stream_mutex_);
    stream = stream_;
  }
  if (stream == nullptr) return Unavailable("worker: expected a process, found none");
  return stream->Send(message);
}

void WorkerSupervisor::Wake() {
  const uint64_t one = 1;
  // Full is as good: a wake-up is under way.
  static_cast<void>(!::write(wake_, &one, sizeof one));
}

void WorkerSupervisor::Kill(std::string reason, bool counted) {
  if (pid_ == 0) return;
  was_killed_ = true;
  killed_as_ = {.own_making = counted, .reason = std::move(reason)};
  ::kill(pid_, SIGKILL);
}

// The parent of the worker is this thread: it must outlive it (PR_SET_PDEATHSIG).
void WorkerSupervisor::Run() {
  int num_failures = 0;
  while (!ends_) {
    const Status started = Start();
    if (started.ok()) {
      Serve();
      num_failures = is_ready_ ? 0 : num_failures + 1;
      Reap();
    } else {
      ++num_failures;
    }
    WaitToStartAgain(num_failures);
  }
}

Status WorkerSupervisor::Start() {
  std::array<int, 2> sockets;
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets.data()) != 0) {
    return Unavailable("worker: expected a socket pair, found: {}", std::strerror(errno));
  }
  ::setsockopt(sockets[0], SOL_SOCKET, SO_SNDTIMEO, &kSendTimeout, sizeof kSendTimeout);
  started_at_ = options_.kernel_kills->Now();
  was_killed_ = false;
  const std::string binary = options_.binary.string();
  const pid_t server = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) BecomeWorker(binary.c_str(), sockets[1], server);
  ::close(sockets[1]);
  if (pid < 0) {
    ::close(sockets[0]);
    return Unavailable("worker: expected a new process, found: {}", std::strerror(errno));
  }
  socket_ = sockets[0];
  pid_ = pid;
  ++num_starts_;
  {
    const std::lock_guard lock(stream_mutex_);
    stream_ = std::make_shared<MessageStream>(socket_);
  }
  // A worker that is dead by now shows itself at the end of its stream.
  static_cast<void>(Send(options_.start));
  return {};
}

void WorkerSupervisor::Serve() {
  while (!ends_) {
    const Clock::time_point until = is_ready_ ? callbacks_.on_turn() : Clock::time_point::max();
    const int64_t wait_ms =
        until == Clock::time_point::max()
            ? -1
            : std::clamp<int64_t>(
                  std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count(), 0,
                  60'000);
    std::array<pollfd, 2> waits = {
        {{.fd = socket_, .events = POLLIN}, {.fd = wake_, .events = POLLIN}}};
    ::poll(waits.data(), waits.size(), static_cast<int>(wait_ms));
    uint64_t ignored = 0;
    static_cast<void>(!::read(wake_, &ignored, sizeof ignored));
    if (waits[0].revents != 0 && !HearArrived()) return;
  }
  Kill("the server ends", /*counted=*/false);
}

// Whether the stream goes on.
bool WorkerSupervisor::HearArrived() {
  while (true) {
    Result<std::optional<Json>> message = stream_->ReceiveArrived();
    if (!message.ok()) {
      if (message.status().code() == StatusCode::kCorruption) {
        Kill(message.status().message(), /*counted=*/true);
      }
      return false;
    }
    if (!*message) return true;
    if (TextOf(**message, "type") == "ready") {
      is_ready_ = true;
      callbacks_.on_ready();
    } else {
      callbacks_.on_message(**message);
    }
  }
}

void WorkerSupervisor::Reap() {
  // Its end of the stream is closed; give it a moment to be dead, then see to it.
  int wait_status = 0;
  pid_t reaped = 0;
  for (int i = 0; i < 200 && reaped == 0; ++i) {
    reaped = ::waitpid(pid_, &wait_status, WNOHANG);
    if (reaped == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  if (reaped == 0) {
    if (!was_killed_) Kill("it closed its socket and went on", /*counted=*/true);
    ::waitpid(pid_, &wait_status, 0);
  }
  const bool by_kernel = !was_killed_ && WIFSIGNALED(wait_status) &&
                         WTERMSIG(wait_status) == SIGKILL &&
                         options_.kernel_kills->Explains(started_at_);
  const WorkerDeath death = was_killed_ ? killed_as_ : DeathOf(wait_status, by_kernel);
  is_ready_ = false;
  pid_ = 0;
  ++num_deaths_;
  {
    const std::lock_guard lock(stream_mutex_);
    stream_.reset();
  }
  callbacks_.on_death(death);
}

void WorkerSupervisor::WaitToStartAgain(int num_failures) {
  const auto until = Clock::now() + kFirstBackoff * (1 << std::min(num_failures, kMaxDoublings));
  while (!ends_ && Clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace ingot
