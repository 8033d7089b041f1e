// The commands of the binary: each takes its parsed flags and prints its result.
#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/status.h"
#include "cli/device_flags.h"

namespace ingot {

// Flags of `run` and `plan` as they were typed; empty or unset: not given.
struct JobFlags {
  std::string prompt, negative;
  std::string model, diffusion, clip, t5, vae, models_dir;
  std::string size;  // "WxH"
  std::optional<int> steps, batch;
  std::optional<uint64_t> seed;
  std::string sampler, scheduler, rng, precision;
  std::optional<double> cfg, guidance;
  std::string memory;  // "2GiB"
  DeviceFlags device;
  std::optional<int> threads;
  std::string output, scratch, trace;
  bool json = false;
};

// Flags of `serve` as they were typed.
struct ServeFlags {
  std::string listen;  // empty: loopback
  int port = 7860;
  std::string models_dir, data_dir = "data", scratch, memory;
  DeviceFlags device;
  std::optional<int> threads;
  std::string api_auth, cors_allow_origins, allowed_hosts;  // lists by commas
  bool is_insecure = false;
  std::string tls_certfile, tls_keyfile, log_level = "info";
  std::vector<std::string> ignored;  // flags of Forge that mean nothing here
};

Status RunCommand(const JobFlags& flags, std::stop_token stop);
Status PlanCommand(const JobFlags& flags);
Status InspectCommand(const std::string& path, bool json);
Status ModelsCommand(const std::string& models_dir, bool json);
Status QuantizeCommand(const std::string& in, const std::string& out, const std::string& type,
                       std::stop_token stop);

Status ServeCommand(const ServeFlags& flags, std::stop_token stop);

// `read_file`: a large file whose direct reads give the disk's rate, or empty.
Status BenchCommand(std::optional<int> threads, const std::string& read_file, bool peaks_only,
                    bool json, std::stop_token stop);

}  // namespace ingot
