// No sampler, noise stream or Brownian tree allocates: operator new counts in this program.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdlib>
#include <new>
#include <vector>

#include "sampling/brownian_tree.h"
#include "sampling/noise.h"
#include "sampling/samplers.h"

namespace {
std::atomic<int> num_allocations = 0;
}  // namespace

// Not inlined: gcc 12 would see malloc paired with delete, and warn.
[[gnu::noinline]] void* operator new(size_t size) {
  ++num_allocations;
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, size_t) noexcept { std::free(memory); }

namespace ingot {
namespace {

TEST(AllocationTest, TheCountSeesAVector) {
  const int before = num_allocations;
  const std::vector<float> values(100);
  EXPECT_EQ(num_allocations - before, 1) << values.size();
}

TEST(AllocationTest, StepsAllocateNothing) {
  const std::vector<float> sigmas = {1.0f, 0.9f, 0.7f, 0.5f, 0.3f, 0.1f, 0.0f};
  std::vector<float> x(64), tree_scratch(BrownianTree::kNumBuffers * x.size());
  for (const Sampler& sampler : Samplers()) {
    std::vector<float> scratch(sampler.num_buffers * x.size());
    NoiseStream stream(Rng::kCpu, 1);
    const BrownianTree tree(Rng::kCpu, 1, 0.1f, 1.0f);
    const auto denoise = [](std::span<const float> in, float, std::span<float> denoised) -> Status {
      for (size_t i = 0; i < in.size(); ++i) denoised[i] = 0.5f * in[i];
      return {};
    };
    const auto noise = [&](float sigma, float sigma_next, std::span<float> out) {
      if (sampler.noise == NoiseKind::kBrownian) {
        tree.Fill(sigma, sigma_next, out, tree_scratch);
      } else {
        stream.Fill(out);
      }
    };
    const SamplerRun run = {.denoise = denoise,
                            .sigmas = sigmas,
                            .x = x,
                            .scratch = scratch,
                            .noise = noise,
                            .on_step = [](const SamplerStep&) { return Status(); },
                            .eta = 1.0};
    const int before = num_allocations;
    const Status status = Sample(sampler, run);
    const int during = num_allocations - before;
    EXPECT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(during, 0) << sampler.name;
  }
}

}  // namespace
}  // namespace ingot
