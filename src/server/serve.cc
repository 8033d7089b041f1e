#include "server/serve.h"

#include <sys/resource.h>
#include <unistd.h>

#include <condition_variable>
#include <cstdio>
#include <mutex>

#include "server/log_writer.h"
#include "server/routes.h"

namespace ingot::server {
namespace {

// A thousand streams and as many connections need more than the usual 1,024 descriptors.
void RaiseDescriptorLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Status ServeJobs(const ServeOptions& options, JobService& jobs, std::stop_token stop,
                 const std::function<void(const std::string& url)>& on_listen,
                 const std::function<void(Router&)>& add_routes) {
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<Access> access, Access::Create(options));
  RaiseDescriptorLimit();
  Metrics metrics;
  LogWriter log(STDERR_FILENO);
  LogTail log_tail;
  Router router;
  HttpServer* listener = nullptr;
  AddApiRoutes(router, jobs, options);
  AddPageRoutes(router);
  if (add_routes) add_routes(router);
  // Requests may come before Listen has returned.
  std::mutex listener_mutex;
  AddOperationsRoutes(router, jobs, options, metrics, [&] {
    const std::lock_guard lock(listener_mutex);
    return listener == nullptr ? HttpCounts() : listener->counts();
  });

  AddStateRoutes(router, jobs, options, log_tail, [&] {
    const std::lock_guard lock(listener_mutex);
    return listener == nullptr ? std::string() : listener->url();
  });

  const auto write = [&](LogLevel level, std::string line) {
    if (level > options.log_level || line.empty()) return;
    log.Write(line);
    log_tail.Add(std::move(line));
  };
  const auto observe = [&](const Exchange& exchange) {
    metrics.Count(exchange);
    write(LevelOf(exchange), LogLine(exchange));
  };
  const std::unique_ptr<Subscription> events =
      jobs.Subscribe("", 0, [&](const JobEvent& event) { write(LevelOf(event), LogLine(event)); });
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<HttpServer> server,
                         HttpServer::Listen({.address = options.address,
                                             .port = options.port,
                                             .tls_certfile = options.tls_certfile,
                                             .tls_keyfile = options.tls_keyfile},
                                            router, *access, observe));
  {
    const std::lock_guard lock(listener_mutex);
    listener = server.get();
  }
  on_listen(server->url());

  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  while (!stop.stop_requested()) {
    metrics.SetWorkerAlive(jobs.State().worker_alive, std::chrono::steady_clock::now());
    wake.wait_for(lock, stop, std::chrono::seconds(1), [] { return false; });
  }
  return {};
}

Status Serve(const ServeOptions& options, std::stop_token stop) {
  // Flags first: the queue is not opened, nor a worker started, for a server that may not listen.
  INGOT_RETURN_IF_ERROR(Access::Create(options).status());
  INGOT_ASSIGN_OR_RETURN(const std::unique_ptr<JobService> jobs,
                         JobService::Open({.data_dir = options.data_dir,
                                           .models_dir = options.models_dir,
                                           .worker_binary = options.worker_binary,
                                           .memory_bytes = options.memory_bytes,
                                           .scratch_folder = options.scratch_folder,
                                           .num_threads = options.num_threads,
                                           .device = options.device}));
  return ServeJobs(options, *jobs, stop, [](const std::string& url) {
    std::printf("Ingot listens at %s\n", url.c_str());
    std::fflush(stdout);
  });
}

}  // namespace ingot::server
