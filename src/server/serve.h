// The server as a whole: jobs, routes and a listener, until it is asked to stop.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"

namespace ingot {
class JobService;
}

namespace ingot::server {

class Router;

enum class LogLevel : uint8_t { kError, kWarning, kInfo, kDebug };

// The flags of `ingot serve`; what is empty or unset is not given.
struct ServeOptions {
  std::string address = "127.0.0.1";  // --listen
  int port = 7860;                    // 0: any
  std::filesystem::path models_dir;
  std::filesystem::path data_dir;
  std::filesystem::path scratch_folder;
  std::filesystem::path worker_binary;  // run as `BINARY worker`
  std::optional<int64_t> memory_bytes;
  size_t num_threads = 1;  // of the engine
  DeviceOptions device;

  std::string api_auth;  // "user:password,user2:password2"
  bool is_insecure = false;
  std::vector<std::string> cors_allow_origins;  // "https://lite.koboldai.net"
  std::vector<std::string> allowed_hosts;       // names that the server is called by
  std::filesystem::path tls_certfile, tls_keyfile;
  LogLevel log_level = LogLevel::kInfo;
};

// Opens the service and prints the URL when it listens. Returns when `stop` is requested and the
// connections have ended. kInvalidArgument for a flag, kUnavailable where the port is in use or the
// data folder cannot be written.
Status Serve(const ServeOptions& options, std::stop_token stop);

// The same over a service that is there already. `on_listen` is called with the URL; `add_routes`,
// if any, adds more to the table.
Status ServeJobs(const ServeOptions& options, JobService& jobs, std::stop_token stop,
                 const std::function<void(const std::string& url)>& on_listen,
                 const std::function<void(Router&)>& add_routes = {});

}  // namespace ingot::server
