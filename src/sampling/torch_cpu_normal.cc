// torch's CPU normal generator, bit for bit: its AVX2 path written in scalar fused multiply-adds.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "sampling/noise.h"

namespace ingot {
namespace {

constexpr size_t kBlock = 16;  // torch transforms 8 pairs of uniforms at a time

// Cephes logf as avx_mathfun's log256_ps, each multiply-add fused as gcc compiles it in torch.
// Without the fusion one value in 2000 differs by an ulp.
float Log(float x) {
  constexpr float kPoly[] = {7.0376836292E-2f,  -1.1514610310E-1f, 1.1676998740E-1f,
                             -1.2420140846E-1f, 1.4249322787E-1f,  -1.6668057665E-1f,
                             2.0000714765E-1f,  -2.4999993993E-1f, 3.3333331174E-1f};
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  float exponent = static_cast<float>(static_cast<int>(bits >> 23) - 126);
  x = std::bit_cast<float>((bits & ~0x7f800000u) | 0x3f000000u);  // mantissa in [0.5, 1)
  if (x < 0.707106781186547524f) {
    exponent -= 1.0f;
    x = (x - 1.0f) + x;
  } else {
    x -= 1.0f;
  }
  const float z = x * x;
  float y = kPoly[0];
  for (size_t i = 1; i < std::size(kPoly); ++i) y = std::fma(y, x, kPoly[i]);
  y = std::fma(y * x, z, exponent * -2.12194440e-4f);
  y -= z * 0.5f;
  return std::fma(exponent, 0.693359375f, x + y);
}

struct SinCos {
  float sin, cos;
};

// Cephes sinf and cosf as avx_mathfun's sincos256_ps, for x in [0, 2 pi].
SinCos ComputeSinCos(float x) {
  const int octant = (static_cast<int>(x * 1.27323954473516f) + 1) & ~1;
  const float y = static_cast<float>(octant);
  x = std::fma(y, -0.78515625f, x);
  x = std::fma(y, -2.4187564849853515625e-4f, x);
  x = std::fma(y, -3.77489497744594108e-8f, x);
  const float z = x * x;
  float c = std::fma(2.443315711809948E-005f, z, -1.388731625493765E-003f);
  c = std::fma(c, z, 4.166664568298827E-002f);
  c = std::fma(c * z, z, -(z * 0.5f)) + 1.0f;
  float s = std::fma(-1.9515295891E-4f, z, 8.3321608736E-3f);
  s = std::fma(s, z, -1.6666654611E-1f);
  s = std::fma(s * z, x, x);
  if (octant & 2) std::swap(s, c);
  return {.sin = (octant & 4) ? -s : s, .cos = ((octant - 2) & 4) ? c : -c};
}

// Box-Muller: uniforms in [0, 1) to normals, pairs eight apart.
void TransformBlock(std::span<float> block) {
  for (size_t i = 0; i < kBlock / 2; ++i) {
    const float radius = std::sqrt(-2.0f * Log(1.0f - block[i]));
    const auto [sin, cos] = ComputeSinCos(2.0f * std::numbers::pi_v<float> * block[i + kBlock / 2]);
    block[i] = radius * cos;
    block[i + kBlock / 2] = radius * sin;
  }
}

}  // namespace

void TorchCpuNormal::Fill(std::span<float> out) {
  if (out.size() < kBlock) {
    for (float& value : out) value = static_cast<float>(NextShort());
    return;
  }
  for (float& value : out) value = NextUniform();
  for (size_t i = 0; i + kBlock <= out.size(); i += kBlock) TransformBlock(out.subspan(i, kBlock));
  if (out.size() % kBlock == 0) return;
  // The rest is not a whole block: torch draws the last 16 values anew.
  const std::span<float> tail = out.last(kBlock);
  for (float& value : tail) value = NextUniform();
  TransformBlock(tail);
}

float TorchCpuNormal::NextUniform() { return static_cast<float>(engine_() & 0xffffffu) * 0x1p-24f; }

double TorchCpuNormal::NextUniformDouble() {
  const uint64_t high = engine_();
  const uint64_t low = engine_();
  return static_cast<double>(((high << 32) | low) & ((1ull << 53) - 1)) * 0x1p-53;
}

double TorchCpuNormal::NextShort() {
  if (second_.has_value()) {
    const double value = *second_;
    second_.reset();
    return value;
  }
  const double u1 = NextUniformDouble();
  const double u2 = NextUniformDouble();
  const double radius = std::sqrt(-2.0 * std::log1p(-u2));
  const double theta = 2.0 * std::numbers::pi * u1;
  second_ = radius * std::sin(theta);
  return radius * std::cos(theta);
}

}  // namespace ingot
