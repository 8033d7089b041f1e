// A program outside Ingot that plans a job with the installed library.
#include <cstdio>

#include "engine/engine.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto engine = ingot::Engine::Open({.num_threads = 1});
  const auto job = ingot::ResolveJob({.prompt = "a red house", .models = {.models_dir = argv[1]}});
  if (!engine.ok() || !job.ok()) return 1;
  const auto plan = engine->PlanJob(*job, {});
  if (!plan.ok()) return 1;
  std::printf("%lld bytes\n", static_cast<long long>(plan->peak_ram_bytes()));
  return 0;
}
