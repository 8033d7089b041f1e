// Facts about noise; expected values are printed by torch and by A1111's rng_philox.py.
#include "sampling/noise.h"

#include <gtest/gtest.h>

#include <vector>

namespace ingot {
namespace {

std::vector<float> Draw(NoiseStream& stream, size_t count) {
  std::vector<float> out(count);
  stream.Fill(out);
  return out;
}

TEST(NoiseTest, CpuIsTorchRandnBitForBit) {
  NoiseStream stream(Rng::kCpu, 42);
  const std::vector<float> long_draw = Draw(stream, 4096);
  EXPECT_EQ(long_draw[0], 1.9269152879714966f);
  EXPECT_EQ(long_draw[1], 1.4872840642929077f);
  EXPECT_EQ(long_draw[2], 0.9007171988487244f);
  EXPECT_EQ(Draw(stream, 5),
            (std::vector<float>{0.4856359362602234f, 0.8362975120544434f, -1.1867014169692993f,
                                -0.8588182330131531f, -1.764799952507019f}));
}

TEST(NoiseTest, CpuSeedsDifferingAbove32BitsAreTheSameSeedAsInTorch) {
  NoiseStream a(Rng::kCpu, 5), b(Rng::kCpu, (1ull << 32) + 5);
  EXPECT_EQ(Draw(a, 40), Draw(b, 40));
}

TEST(NoiseTest, NvIsRngPhilox) {
  NoiseStream stream(Rng::kNv, 0);
  // Run with numpy 2.4; the script's own comment shows a GPU's values, up to 2.4e-7 away.
  const std::vector<float> expected = {
      -0.9246624112129211f,  -0.42534396052360535f, -2.643845796585083f,  0.14518387615680695f,
      -0.12086650729179382f, -0.5797256827354431f,  -0.6228513121604919f, -0.32838714122772217f,
      -1.0745420455932617f,  -0.3631440997123718f,  -1.6710504293441772f, 2.265505075454712f};
  const std::vector<float> drawn = Draw(stream, 12);
  EXPECT_EQ(drawn, expected);
  EXPECT_NE(Draw(stream, 12), drawn);
}

TEST(NoiseTest, ThePicturesOfABatchDrawAsIfAlone) {
  for (Rng rng : {Rng::kCpu, Rng::kNv}) {
    NoiseStream alone(rng, 8), first(rng, 7), second(rng, 8);
    for (size_t size : {64, 5, 7}) {  // the odd draws keep half a pair back
      const std::vector<float> of_first = Draw(first, size), of_second = Draw(second, size);
      EXPECT_EQ(of_second, Draw(alone, size));
      EXPECT_NE(of_second, of_first);
    }
  }
}

TEST(NoiseTest, RngNamesAreCpuAndNvInAnyCase) {
  EXPECT_EQ(*FindRng("CPU"), Rng::kCpu);
  EXPECT_EQ(*FindRng("nv"), Rng::kNv);
  EXPECT_EQ(FindRng("GPU").status().message(), "rng: expected cpu or nv, found 'GPU'");
}

}  // namespace
}  // namespace ingot
