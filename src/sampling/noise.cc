// The NV generator, the choice between generators, and variation noise.
#include "sampling/noise.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "sampling/names.h"

namespace ingot {
namespace {

using Philox = std::array<uint32_t, 4>;

Philox Philox4x32(Philox counter, uint32_t key_0, uint32_t key_1) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{counter[0]} * 0xD2511F53u;
    const uint64_t b = uint64_t{counter[2]} * 0xCD9E8D57u;
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key_0, static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key_1, static_cast<uint32_t>(a)};
    key_0 += 0x9E3779B9u;
    key_1 += 0xBB67AE85u;
  }
  return counter;
}

// numpy multiplies uint32 by a float32 array of one element in double, and so do we.
float BoxMuller(uint32_t x, uint32_t y) {
  constexpr double kScale = 2.3283064e-10f;
  constexpr double kScale2Pi = static_cast<float>(2.3283064e-10 * 6.2831855);
  constexpr double kHalf = 2.3283064e-10f / 2;
  constexpr double kHalf2Pi = static_cast<float>(2.3283064e-10 * 6.2831855) / 2;
  const double u = x * kScale + kHalf;
  const double v = y * kScale2Pi + kHalf2Pi;
  return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::sin(v));
}

// Norms and the dot product of two columns over h, `stride` elements apart.
struct Column {
  double norm_a = 0, norm_b = 0, dot = 0;
  double Cosine() const { return dot / std::sqrt(norm_a * norm_b); }
};
Column MeasureColumn(const float* a, const float* b, int64_t height, int64_t stride) {
  Column column;
  for (int64_t y = 0; y < height; ++y) {
    const double va = a[y * stride], vb = b[y * stride];
    column.norm_a += va * va;
    column.norm_b += vb * vb;
    column.dot += va * vb;
  }
  return column;
}

}  // namespace

Result<Rng> FindRng(std::string_view name) {
  if (SameName(name, "cpu")) return Rng::kCpu;
  if (SameName(name, "nv")) return Rng::kNv;
  return InvalidArgument("rng: expected cpu or nv, found '{}'", name);
}

void NvNormal::Fill(std::span<float> out) {
  const auto key_0 = static_cast<uint32_t>(seed_);
  const auto key_1 = static_cast<uint32_t>(seed_ >> 32);
  for (size_t i = 0; i < out.size(); ++i) {
    const Philox random = Philox4x32({num_calls_, 0, static_cast<uint32_t>(i), 0}, key_0, key_1);
    out[i] = BoxMuller(random[0], random[1]);
  }
  ++num_calls_;
}

NoiseStream::NoiseStream(Rng rng, uint64_t seed) : normal_(NvNormal(seed)) {
  if (rng == Rng::kCpu) normal_ = TorchCpuNormal(seed);
}

void NoiseStream::Fill(std::span<float> out) {
  std::visit([out](auto& normal) { normal.Fill(out); }, normal_);
}

void SlerpNoise(std::span<float> noise, std::span<const float> variation, LatentSize size,
                double strength) {
  const auto [channels, height, width] = size;
  INGOT_CHECK(noise.size() == static_cast<size_t>(channels * height * width));
  INGOT_CHECK(variation.size() == noise.size());
  const int64_t plane = height * width;
  double cosine_sum = 0;
  for (int64_t i = 0; i < channels * width; ++i) {
    const int64_t at = i / width * plane + i % width;
    cosine_sum += MeasureColumn(&noise[at], &variation[at], height, width).Cosine();
  }
  const bool parallel = cosine_sum / static_cast<double>(channels * width) > 0.9995;
  for (int64_t i = 0; i < channels * width; ++i) {
    const int64_t at = i / width * plane + i % width;
    double weight = strength, weight_variation = 1.0 - strength;
    if (!parallel) {
      const double cosine = MeasureColumn(&noise[at], &variation[at], height, width).Cosine();
      const double omega = std::acos(std::clamp(cosine, -1.0, 1.0));
      // Where the two columns are parallel the limit of the quotients is a lerp.
      const double sine = std::sin(omega);
      weight = sine == 0 ? 1.0 - strength : std::sin((1.0 - strength) * omega) / sine;
      weight_variation = sine == 0 ? strength : std::sin(strength * omega) / sine;
    }
    for (int64_t y = at; y < at + plane; y += width) {
      noise[y] = static_cast<float>(weight * noise[y] + weight_variation * variation[y]);
    }
  }
}

}  // namespace ingot
