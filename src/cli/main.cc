// The one binary of Ingot: flags to commands, statuses to exit codes.
#include <pthread.h>
#include <signal.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <stop_token>
#include <thread>

#include "cli/commands.h"
#include "cli/exit_code.h"
#include "jobs/worker.h"
#include "jobs/worker_protocol.h"

namespace ingot {
namespace {

// Ctrl-C and TERM ask the job to stop; a second one ends the process at once.
// A thread waits for them, since a handler could do nothing but set a flag.
std::stop_source StopOnSignals() {
  static std::stop_source source;
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    int signal = 0;
    sigwait(&signals, &signal);
    source.request_stop();
    sigwait(&signals, &signal);
    std::_Exit(ExitCode(StatusCode::kCancelled));
  }).detach();
  return source;
}

// CLI11 by itself reads -1 as 2^64 - 1 and lowers what is larger to that.
std::string CheckSeed(const std::string& text) {
  uint64_t seed = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seed);
  if (error == std::errc() && end == text.data() + text.size()) return {};
  return "expected a whole number from 0 to 18446744073709551615, found '" + text + "'";
}

void AddDeviceFlags(CLI::App& app, DeviceFlags& flags) {
  app.add_option("--device", flags.device,
                 "cpu; cuda: a GPU; or sim: one simulated on the cpu (cpu)");
  app.add_option("--vram", flags.vram,
                 "Memory of the GPU to use, such as 4GiB (what is free; of a simulated one 8GiB)");
  app.add_option("--link", flags.link, "Its link in GB/s (25)");
}

void AddJobFlags(CLI::App& app, JobFlags& flags) {
  app.add_option("--negative", flags.negative, "What the picture should not show (needs --cfg)");
  app.add_option("--model", flags.model, "Name of a diffusion model in the models folder");
  app.add_option("--diffusion", flags.diffusion, "Diffusion model file (GGUF or safetensors)");
  app.add_option("--clip", flags.clip, "CLIP-L text encoder file");
  app.add_option("--t5", flags.t5, "T5 text encoder file");
  app.add_option("--vae", flags.vae, "VAE file");
  app.add_option("--models", flags.models_dir, "Models folder (./models, else the demo models)");
  app.add_option("--size", flags.size, "Width x height, multiples of 8, such as 1024x768");
  app.add_option("--steps", flags.steps, "Sampling steps");
  app.add_option("--seed", flags.seed, "Seed of the first picture (random)")->check(CheckSeed);
  app.add_option("--batch", flags.batch, "Pictures to make, with consecutive seeds");
  app.add_option("--sampler", flags.sampler, "Sampler, such as Euler or \"DPM++ 2M\"");
  app.add_option("--scheduler", flags.scheduler, "Schedule, such as Simple or Beta");
  app.add_option("--cfg", flags.cfg, "Classifier-free guidance (1: off)");
  app.add_option("--guidance", flags.guidance, "Distilled guidance of Flux dev (3.5)");
  app.add_option("--rng", flags.rng, "Noise source: cpu or nv");
  app.add_option("--memory", flags.memory, "Most memory to use, such as 8GiB");
  AddDeviceFlags(app, flags.device);
  app.add_option("--scratch", flags.scratch, "Folder on a disk for large activations (/var/tmp)");
  app.add_option("--precision", flags.precision, "fast, default or exact (f32 throughout)");
  app.add_option("--threads", flags.threads, "Threads (all processors)");
  app.add_flag("--json", flags.json, "Print one JSON object");
}

// Of Forge and AUTOMATIC1111, as guides tell to paste them.
constexpr const char* kForgeSwitches[] = {"--api",
                                          "--nowebui",
                                          "--api-log",
                                          "--api-server-stop",
                                          "--xformers",
                                          "--autolaunch",
                                          "--skip-install",
                                          "--skip-torch-cuda-test",
                                          "--no-half",
                                          "--no-half-vae",
                                          "--medvram",
                                          "--lowvram",
                                          "--cuda-malloc",
                                          "--cuda-stream",
                                          "--pin-shared-memory",
                                          "--always-offload-from-vram",
                                          "--always-gpu",
                                          "--always-low-vram",
                                          "--always-high-vram",
                                          "--skip-version-check",
                                          "--no-hashing",
                                          "--opt-sdp-attention",
                                          "--skip-python-version-check",
                                          "--skip-prepare-environment",
                                          "--enable-insecure-extension-access"};

void AddServeFlags(CLI::App& app, ServeFlags& flags) {
  app.add_option("--port", flags.port, "Port; 0: any that is free")
      ->capture_default_str()
      ->check(CLI::Range(0, 65535));
  app.add_option("--listen,--server-name", flags.listen,
                 "Address to listen on (127.0.0.1); without a value all: needs --api-auth")
      ->expected(0, 1);
  app.add_option("--models,--ckpt-dir", flags.models_dir,
                 "Models folder (./models, else the demo models)");
  app.add_option("--data-dir", flags.data_dir, "Queue, history and pictures")
      ->capture_default_str();
  app.add_option("--memory", flags.memory, "Most memory of server and workers, such as 8GiB");
  AddDeviceFlags(app, flags.device);
  app.add_option("--scratch", flags.scratch, "Folder on a disk for large activations (/var/tmp)");
  app.add_option("--threads", flags.threads, "Threads of the engine (all processors)");
  app.add_option("--api-auth", flags.api_auth, "USER:PASSWORD[,USER2:PASSWORD2] of every route");
  app.add_flag("--insecure", flags.is_insecure, "Listen on other addresses without --api-auth");
  app.add_option("--cors-allow-origins", flags.cors_allow_origins,
                 "Pages that may call, such as https://lite.koboldai.net");
  app.add_option("--allowed-hosts", flags.allowed_hosts, "Names that the server is called by");
  app.add_option("--tls-certfile", flags.tls_certfile, "Certificate chain, PEM");
  app.add_option("--tls-keyfile", flags.tls_keyfile, "Its key, PEM");
  app.add_option("--log-level", flags.log_level, "error, warning, info or debug")
      ->capture_default_str();
  for (const char* name : kForgeSwitches) {
    app.add_flag_callback(name, [&flags, name] { flags.ignored.emplace_back(name); })
        ->group("");  // not in --help
  }
}

int Main(int argc, char** argv) {
  CLI::App app{"Pictures from text with Flux on the memory you have.", "ingot"};
  app.set_version_flag("--version", "ingot " INGOT_VERSION);
  app.require_subcommand(0, 1);  // none is told below, where an unknown one is named
  Status status;

  JobFlags job;
  CLI::App* run = app.add_subcommand("run", "Make a picture from a prompt");
  run->add_option("prompt", job.prompt, "What the picture shows")->required();
  run->add_option("-o,--output", job.output, "PNG file to write (ingot-SEED.png)");
  run->add_option("--trace", job.trace, "File for what each thread did when (Chrome's format)");
  AddJobFlags(*run, job);
  run->callback([&] { status = RunCommand(job, StopOnSignals().get_token()); });

  CLI::App* plan = app.add_subcommand("plan", "Print what a job takes; nothing is loaded");
  plan->add_option("prompt", job.prompt, "What the picture shows");
  AddJobFlags(*plan, job);
  plan->callback([&] { status = PlanCommand(job); });

  std::string file, out, type, models_dir;
  bool json = false;
  CLI::App* inspect = app.add_subcommand("inspect", "Tell what a model file holds");
  inspect->add_option("file", file, "GGUF or safetensors file")->required();
  inspect->add_flag("--json", json, "Print one JSON object");
  inspect->callback([&] { status = InspectCommand(file, json); });

  CLI::App* models = app.add_subcommand("models", "List the models folder");
  models->add_option("--models", models_dir, "Models folder (./models, else the demo models)");
  models->add_flag("--json", json, "Print one JSON object");
  models->callback([&] { status = ModelsCommand(models_dir, json); });

  CLI::App* quantize =
      app.add_subcommand("quantize", "Write a model file in another type, as GGUF");
  quantize->add_option("in", file, "GGUF or safetensors file")->required();
  quantize->add_option("out", out, "GGUF file to write")->required();
  quantize->add_option("--type", type, "F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1 or Q8_0")->required();
  quantize->callback(
      [&] { status = QuantizeCommand(file, out, type, StopOnSignals().get_token()); });

  std::optional<int> threads;
  std::string read_file;
  bool peaks_only = false;
  CLI::App* bench = app.add_subcommand("bench", "Time the ops beside the processor's peaks");
  bench->add_flag("--peaks", peaks_only, "Only the peaks");
  bench->add_option("--read", read_file, "Large file whose reading gives the disk's rate");
  bench->add_option("--threads", threads, "Threads (all processors)");
  bench->add_flag("--json", json, "Print one JSON object");
  bench->callback([&] {
    status = BenchCommand(threads, read_file, peaks_only, json, StopOnSignals().get_token());
  });

  // Started by the server, which speaks to it over descriptor 3; signals end it as they find it.
  CLI::App* worker = app.add_subcommand("worker", "")->group("");
  worker->callback([&] { status = RunWorker(kWorkerSocket); });

  ServeFlags serve_flags;
  CLI::App* serve = app.add_subcommand("serve", "Serve Forge's API, a queue and its history");
  AddServeFlags(*serve, serve_flags);
  serve->callback([&] {
    // Forge's --listen has no value.
    if (serve->count("--listen") > 0 && serve_flags.listen.empty()) serve_flags.listen = "0.0.0.0";
    status = ServeCommand(serve_flags, StopOnSignals().get_token());
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    std::fprintf(stderr, "ingot: %s; see ingot --help\n", error.what());
    return ExitCode(StatusCode::kInvalidArgument);
  }
  if (app.get_subcommands().empty()) {
    status = InvalidArgument(
        "command: expected run, plan, inspect, models, quantize, bench or serve, found none; see "
        "ingot --help");
  }
  if (std::fflush(stdout) != 0 && status.ok()) {
    status = Unavailable("stdout: expected to take the output, found: {}", std::strerror(errno));
  }
  if (!status.ok()) std::fprintf(stderr, "ingot: %s\n", status.message().c_str());
  return ExitCode(status.code());
}

}  // namespace
}  // namespace ingot

int main(int argc, char** argv) { return ingot::Main(argc, argv); }
