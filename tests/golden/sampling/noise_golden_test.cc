// Noise equal to torch's CPU generator, A1111's rng_philox.py, Forge's slerp and torchsde's tree.
#include <gtest/gtest.h>

#include <bit>

#include "golden.h"
#include "sampling/brownian_tree.h"
#include "sampling/noise.h"

namespace ingot {
namespace {

using nlohmann::json;

std::vector<float> Draw(NoiseStream& stream, size_t count) {
  std::vector<float> out(count);
  stream.Fill(out);
  return out;
}

// FNV-1a over the values' bytes, low byte first.
std::string Digest(std::span<const float> values) {
  uint64_t digest = 0xcbf29ce484222325u;
  for (float value : values) {
    for (int shift = 0; shift < 32; shift += 8) {
      digest = (digest ^ (std::bit_cast<uint32_t>(value) >> shift & 0xff)) * 0x100000001b3u;
    }
  }
  return fmt::format("{:016x}", digest);
}

// Bit for bit: ancestral samplers amplify nothing, but one seed must give one picture.
void ExpectDraw(const std::vector<float>& drawn, const json& golden, const std::string& what) {
  const auto first = golden["first"].get<std::vector<float>>();
  EXPECT_EQ(std::vector<float>(drawn.begin(), drawn.begin() + first.size()), first) << what;
  EXPECT_EQ(Digest(drawn), golden["fnv1a"]) << what;
}

TEST(NoiseGolden, TwoDrawsOfEverySeedAndSizeAreTheReferencesBits) {
  const json streams = ReadGolden("noise.json")["streams"];
  ASSERT_EQ(streams.size(), 54u);
  for (const json& row : streams) {
    for (const std::string rng : {"cpu", "nv"}) {
      NoiseStream stream(*FindRng(rng), row["seed"]);
      for (const json& draw : row[rng]) {
        ExpectDraw(Draw(stream, row["size"]), draw,
                   fmt::format("{} seed {} size {}", rng, row["seed"].dump(), row["size"].dump()));
      }
    }
  }
}

TEST(NoiseGolden, ShortAndLongDrawsOfOneCpuStreamAreTorchsBits) {
  const json golden = ReadGolden("noise.json");
  NoiseStream stream(Rng::kCpu, golden["mixed_seed"]);
  for (const json& row : golden["mixed"]) {
    ExpectDraw(Draw(stream, row["size"]), row["draw"], row["size"].dump());
  }
}

TEST(NoiseGolden, SlerpIsForges) {
  const json golden = ReadGolden("noise.json");
  const std::vector<int64_t> shape = golden["slerp_shape"];
  const LatentSize size = {shape[0], shape[1], shape[2]};
  for (const json& row : golden["slerp"]) {
    NoiseStream stream(Rng::kCpu, golden["slerp_seeds"][0]);
    NoiseStream other(Rng::kCpu, golden["slerp_seeds"][1]);
    std::vector<float> noise = Draw(stream, shape[0] * shape[1] * shape[2]);
    std::vector<float> variation = row["parallel"] ? noise : Draw(other, noise.size());
    if (row["parallel"]) {
      for (float& value : variation) value *= 2;
    }
    SlerpNoise(noise, variation, size, row["strength"]);
    // Ours is computed in f64 as the golden is; only the result is rounded to f32.
    EXPECT_LE(RelativeError(noise, row["values"]), 1e-7) << row["strength"] << row["parallel"];
  }
}

TEST(NoiseGolden, BrownianTreeIsTorchsdes) {
  const json cases = ReadGolden("noise.json")["brownian"];
  ASSERT_EQ(cases.size(), 8u);
  for (const json& row : cases) {
    const BrownianTree tree(Rng::kCpu, row["seed"], row["sigma_min"], row["sigma_max"]);
    const std::vector<float> sigmas = row["sigmas"];
    std::vector<float> out(row["size"].get<size_t>()),
        scratch(BrownianTree::kNumBuffers * out.size());
    for (size_t i = 0; i + 1 < sigmas.size(); ++i) {
      tree.Fill(sigmas[i], sigmas[i + 1], out, scratch);
      // Sums of some 40 f32 increments, taken in another order; the shortest step divides by 0.1.
      EXPECT_LE(RelativeError(out, row["values"][i]), 2e-6) << row["seed"] << " step " << i;
    }
  }
}

}  // namespace
}  // namespace ingot
