// Facts about Brownian noise that no golden is needed for.
#include "sampling/brownian_tree.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace ingot {
namespace {

std::vector<float> Draw(const BrownianTree& tree, float sigma, float sigma_next, size_t size = 64) {
  std::vector<float> out(size), scratch(BrownianTree::kNumBuffers * size);
  tree.Fill(sigma, sigma_next, out, scratch);
  return out;
}

TEST(BrownianTreeTest, FinerStepsFollowTheSamePath) {
  const BrownianTree tree(Rng::kNv, 11, 0.05f, 1.0f);
  const std::vector<float> whole = Draw(tree, 0.9f, 0.1f);
  const std::vector<float> first = Draw(tree, 0.9f, 0.37f), second = Draw(tree, 0.37f, 0.1f);
  for (size_t i = 0; i < whole.size(); ++i) {
    // sqrt(0.8) W = sqrt(0.53) W_1 + sqrt(0.27) W_2; some 40 roundings of values up to 4.
    const double sum = std::sqrt(0.53) * first[i] + std::sqrt(0.27) * second[i];
    EXPECT_NEAR(std::sqrt(0.8) * whole[i], sum, 1e-5);
  }
}

TEST(BrownianTreeTest, IncrementsAreStandardNormal) {
  const BrownianTree tree(Rng::kCpu, 3, 0.05f, 1.0f);
  const std::vector<float> values = Draw(tree, 0.61f, 0.6f, 20000);
  double sum = 0, squares = 0;
  for (float value : values) {
    sum += value;
    squares += double{value} * value;
  }
  // Four standard deviations: of the mean 1 / sqrt(20000), of the variance sqrt(2 / 20000).
  EXPECT_NEAR(sum / 20000, 0.0, 0.028);
  EXPECT_NEAR(squares / 20000, 1.0, 0.04);
}

TEST(BrownianTreeTest, ARunOfOneStepMakesATreeThatDrawsZeros) {
  const BrownianTree tree(Rng::kCpu, 3, 1.0f, 1.0f);
  EXPECT_EQ(Draw(tree, 1.0f, 0.0f, 3), std::vector<float>(3));
}

TEST(BrownianTreeTest, StepsShorterThanItsResolutionAreZeros) {
  const BrownianTree tree(Rng::kCpu, 3, 0.1f, 1.0f);
  EXPECT_EQ(Draw(tree, 0.50000006f, 0.5f, 3), std::vector<float>(3));
}

}  // namespace
}  // namespace ingot
