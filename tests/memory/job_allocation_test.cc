// From the end of the first step of a job to the end of its last nothing is allocated, by no
// thread: malloc and all that calls it, operator new among them, count in this program (promise
// P3).
#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <new>

#include "devices/cpu/cpu_device.h"
#include "pipeline/flux_pipeline.h"

namespace {
std::atomic<int64_t> num_allocations = 0;
}  // namespace

// glibc's own, under the names that stay when a program brings its malloc.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);

void* malloc(size_t size) {
  ++num_allocations;
  return __libc_malloc(size);
}
void* calloc(size_t count, size_t size) {
  ++num_allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* memory, size_t size) {
  ++num_allocations;
  return __libc_realloc(memory, size);
}
void* aligned_alloc(size_t alignment, size_t size) {
  ++num_allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** memory, size_t alignment, size_t size) {
  *memory = aligned_alloc(alignment, size);
  return *memory != nullptr ? 0 : ENOMEM;
}
}

namespace ingot {
namespace {

// Called so that no compiler leaves a pair of them out.
void* (*volatile const take)(size_t) = malloc;
void* (*volatile const take_by_new)(size_t) = operator new;
void* (*volatile const take_aligned)(size_t, std::align_val_t) = operator new;

TEST(JobAllocations, CountSeesMallocNewAndAlignedNew) {
  const int64_t before = num_allocations;
  free(take(10));
  operator delete(take_by_new(10));
  operator delete(take_aligned(64, std::align_val_t(64)), std::align_val_t(64));
  EXPECT_EQ(num_allocations - before, 3);
}

// Allocations between the end of the first step and the end of the last.
int64_t CountInSampling(JobRequest request, Trace* trace = nullptr) {
  request.prompt = "a red house";
  request.models = {.models_dir = INGOT_SOURCE_DIR "/demo/models"};
  request.width = request.height = 64;
  request.steps = 4;
  request.seed = 1;
  const Result<Job> job = ResolveJob(request);
  const auto device = OpenCpuDevice({.num_threads = 3, .target = {}});
  INGOT_CHECK(job.ok() && device.ok());
  (*device)->set_trace(trace);
  Result<FluxPipeline> pipeline = FluxPipeline::Prepare(*job, **device);
  INGOT_CHECK(pipeline.ok() && pipeline->FitTo(int64_t{1} << 40).ok());
  int64_t first = 0, last = 0;
  RunCounters counters;  // as the worker has it
  const Result<Record> record = pipeline->Run(
      {.device = **device, .counters = &counters, .progress = [&](const JobProgress& progress) {
         if (progress.phase != "sampling" || progress.num_steps == 0) return;
         if (progress.step == 1) first = num_allocations;
         if (progress.step == progress.num_steps) last = num_allocations;
       }});
  EXPECT_TRUE(record.ok()) << record.status().message();
  EXPECT_GT(counters.num_ops, 0);
  EXPECT_GT(first, 0);
  EXPECT_GE(last, first);
  return last - first;
}

TEST(JobAllocations, StepsOfEverySamplerAllocateNothing) {
  for (const Sampler& sampler : Samplers()) {
    EXPECT_EQ(CountInSampling({.sampler = std::string(sampler.name)}), 0) << sampler.name;
  }
}

TEST(JobAllocations, StepsWithGuidanceAllocateNothing) {
  EXPECT_EQ(CountInSampling({.negative_prompt = "a tree", .cfg_scale = 3.0}), 0);
}

TEST(JobAllocations, StepsWithATraceAllocateNothing) {
  Trace trace;
  EXPECT_EQ(CountInSampling({}, &trace), 0);
  EXPECT_GT(trace.Spans().size(), 0u);
}

}  // namespace
}  // namespace ingot
