#include "pipeline/latent.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace ingot {
namespace {

TEST(Patchify, OrdersChannelThenRowThenColumn) {
  const LatentShape shape = {2, 2, 4};
  std::vector<float> latent(16), patches(16);
  std::iota(latent.begin(), latent.end(), 0.0f);
  Patchify(shape, latent, patches);
  EXPECT_EQ(patches, (std::vector<float>{0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15}));
}

TEST(Patchify, OddSidesWrapAroundAndComeBackUnchanged) {
  const LatentShape shape = {1, 3, 3};
  std::vector<float> latent(9), patches(16), back(9);
  std::iota(latent.begin(), latent.end(), 0.0f);
  Patchify(shape, latent, patches);
  EXPECT_EQ(std::vector<float>(patches.begin() + 12, patches.end()),
            (std::vector<float>{8, 6, 2, 0}));
  Unpatchify(shape, patches, back);
  EXPECT_EQ(back, latent);
}

}  // namespace
}  // namespace ingot
