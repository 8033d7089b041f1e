// Brownian motion over sigma: the same path of noise however finely a schedule cuts it.
#pragma once

#include <cstdint>
#include <span>

#include "sampling/noise.h"

namespace ingot {

// torchsde.BrownianTree as k-diffusion's BrownianTreeNoiseSampler uses it, one tree a picture.
//
// The tree halves [sigma_min, sigma_max] down to 1e-6; each node's noise is a randn seeded by
// numpy.random.SeedSequence(seed, spawn_key = (node, depth), pool_size = 24). Nothing is kept
// between calls: an increment is walked down to from the root (about 40 randn a call).
class BrownianTree {
 public:
  static constexpr int kNumBuffers = 3;  // of out.size() floats each

  // sigma_min is the least positive sigma of the whole schedule, sigma_max its greatest; they are
  // equal in a run of one step, which draws nothing.
  BrownianTree(Rng rng, uint64_t seed, float sigma_min, float sigma_max);

  // out = (W(sigma_next) - W(sigma)) / sqrt(sigma - sigma_next): standard normal.
  // sigma > sigma_next, both clamped to the tree's range; zeros where they round to one value.
  void Fill(float sigma, float sigma_next, std::span<float> out, std::span<float> scratch) const;

 private:
  Rng rng_;
  uint64_t seed_;
  double sigma_min_, sigma_max_;
};

}  // namespace ingot
