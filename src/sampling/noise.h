// Standard normal noise from a seed: the generators of torch's CPU and of A1111's "NV" source.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string_view>
#include <variant>

#include "base/status.h"

namespace ingot {

enum class Rng : uint8_t { kCpu, kNv };

// "cpu" or "nv", any case; InvalidArgument otherwise.
Result<Rng> FindRng(std::string_view name);

// torch.Generator("cpu").manual_seed(seed); one Fill is one torch.randn of out.size() f32 values.
//
// mt19937 seeded with the low 32 bits of `seed`, as torch does. 16 values or more: Box-Muller over
// blocks of 16 floats; fewer: double Box-Muller whose second value waits for the next short call.
// Source: ATen/native/cpu/DistributionTemplates.h normal_fill_AVX2, avx_mathfun.h.
class TorchCpuNormal {
 public:
  explicit TorchCpuNormal(uint64_t seed) : engine_(static_cast<uint32_t>(seed)) {}
  void Fill(std::span<float> out);

 private:
  float NextUniform();
  double NextUniformDouble();
  double NextShort();

  std::mt19937 engine_;
  std::optional<double> second_;
};

// modules/rng_philox.py of A1111: Philox4x32-10, counter (call index, 0, element, 0), key `seed`,
// and the first Box-Muller value of each counter. One Fill is one randn; at most 2^32 values.
class NvNormal {
 public:
  explicit NvNormal(uint64_t seed) : seed_(seed) {}
  void Fill(std::span<float> out);

 private:
  uint64_t seed_;
  uint32_t num_calls_ = 0;
};

// One picture's noise. Consecutive calls continue the stream: the first gives the starting noise,
// the later ones what ancestral samplers add.
class NoiseStream {
 public:
  NoiseStream(Rng rng, uint64_t seed);
  void Fill(std::span<float> out);

 private:
  std::variant<TorchCpuNormal, NvNormal> normal_;
};

// Blends variation noise into `noise`, in place; both [C, h, w] f32 of one size:
//   omega = acos(cos of the angle between columns over h)
//   noise = (sin((1 - strength) omega) noise + sin(strength omega) variation) / sin(omega)
// Forge takes the angle along axis 1 of [C, h, w], that is h; where the mean cosine exceeds 0.9995
// it lerps with weight `strength` on `noise`, and so do we. Source: modules/rng.py slerp.
struct LatentSize {
  int64_t channels, height, width;
};
void SlerpNoise(std::span<float> noise, std::span<const float> variation, LatentSize size,
                double strength);

}  // namespace ingot
