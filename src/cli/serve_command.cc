// `ingot serve`: flags to ServeOptions.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "base/byte_size.h"
#include "cli/commands.h"
#include "cli/models_dir.h"
#include "cli/threads.h"
#include "server/serve.h"

namespace ingot {
namespace {

std::vector<std::string> SplitList(const std::string& text) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Result<server::LogLevel> ParseLogLevel(const std::string& name) {
  if (name == "error") return server::LogLevel::kError;
  if (name == "warning") return server::LogLevel::kWarning;
  if (name == "info") return server::LogLevel::kInfo;
  if (name == "debug") return server::LogLevel::kDebug;
  return InvalidArgument("--log-level: expected error, warning, info or debug, found '{}'", name);
}

}  // namespace

Status ServeCommand(const ServeFlags& flags, std::stop_token stop) {
  server::ServeOptions options = {
      .address = flags.listen.empty() ? "127.0.0.1" : flags.listen,
      .port = flags.port,
      .models_dir = ModelsDir(flags.models_dir),
      .data_dir = flags.data_dir,
      .scratch_folder = flags.scratch,
      .api_auth = flags.api_auth,
      .is_insecure = flags.is_insecure,
      .cors_allow_origins = SplitList(flags.cors_allow_origins),
      .allowed_hosts = SplitList(flags.allowed_hosts),
      .tls_certfile = flags.tls_certfile,
      .tls_keyfile = flags.tls_keyfile,
  };
  INGOT_ASSIGN_OR_RETURN(options.log_level, ParseLogLevel(flags.log_level));
  INGOT_ASSIGN_OR_RETURN(options.num_threads, NumThreads(flags.threads));
  INGOT_ASSIGN_OR_RETURN(options.device, ParseDevice(flags.device));
  INGOT_RETURN_IF_ERROR(CheckDevice(options.device));
  if (!flags.memory.empty()) {
    INGOT_ASSIGN_OR_RETURN(options.memory_bytes, ParseByteSize(flags.memory));
  }
  std::error_code error;
  options.worker_binary = std::filesystem::read_symlink("/proc/self/exe", error);
  if (error) {
    return Unavailable("/proc/self/exe: expected the path of this program, found: {}",
                       error.message());
  }
  if (!flags.ignored.empty()) {
    std::fprintf(stderr, "ingot: accepted for Forge's sake, without meaning here: %s\n",
                 fmt::format("{}", fmt::join(flags.ignored, ", ")).c_str());
  }
  return server::Serve(options, stop);
}

}  // namespace ingot
