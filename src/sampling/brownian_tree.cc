// torchsde's BrownianInterval with halfway_tree, walked without keeping the tree.
#include "sampling/brownian_tree.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "base/check.h"

namespace ingot {
namespace {

// numpy.random.SeedSequence(entropy, spawn_key = words, pool_size = 24): its first word.
class SeedSequence {
 public:
  void Mix(std::span<const uint32_t> entropy) {
    for (size_t i = 0; i < kPool; ++i) pool_[i] = Hash(i < entropy.size() ? entropy[i] : 0);
    for (size_t from = 0; from < kPool; ++from) {
      for (size_t to = 0; to < kPool; ++to) {
        if (from != to) pool_[to] = MixWords(pool_[to], Hash(pool_[from]));
      }
    }
    for (size_t i = kPool; i < entropy.size(); ++i) {
      for (uint32_t& word : pool_) word = MixWords(word, Hash(entropy[i]));
    }
  }
  uint32_t FirstWord() const {
    uint32_t constant = 0x8b51f9ddu;
    uint32_t word = pool_[0] ^ constant;
    word *= constant * 0x58f38dedu;
    return word ^ (word >> 16);
  }
  static constexpr size_t kPool = 24;

 private:
  uint32_t Hash(uint32_t value) {
    value ^= constant_;
    constant_ *= 0x931e8875u;
    value *= constant_;
    return value ^ (value >> 16);
  }
  static uint32_t MixWords(uint32_t x, uint32_t y) {
    const uint32_t mixed = x * 0xca01f9ddu - y * 0x4973f715u;
    return mixed ^ (mixed >> 16);
  }

  std::array<uint32_t, kPool> pool_ = {};
  uint32_t constant_ = 0x43b0d7e5u;
};

// A node's seed; the root's own value has no spawn key.
uint32_t NodeSeed(uint64_t seed, std::span<const uint32_t> spawn_key) {
  std::array<uint32_t, SeedSequence::kPool + 2> entropy = {static_cast<uint32_t>(seed),
                                                           static_cast<uint32_t>(seed >> 32)};
  std::copy(spawn_key.begin(), spawn_key.end(), entropy.begin() + SeedSequence::kPool);
  SeedSequence sequence;
  sequence.Mix(std::span(entropy).first(SeedSequence::kPool + spawn_key.size()));
  return sequence.FirstWord();
}

// Python's round(x, 6): correct to the last bit, where x * 1e6 would not be.
double Round6(double x) {
  std::array<char, 64> text;
  const auto end = std::to_chars(text.begin(), text.end(), x, std::chars_format::fixed, 6);
  double rounded = 0;
  std::from_chars(text.begin(), end.ptr, rounded);
  return rounded;
}

struct Node {
  double start, end;
  uint32_t key = 0, depth = 0;

  double middle() const { return Round6(0.5 * (end + start)); }
  Node Left() const { return {start, middle(), 2 * key, depth + 1}; }
  Node Right() const { return {middle(), end, 2 * key + 1, depth + 1}; }
};

struct Walk {
  Rng rng;
  uint64_t seed;
  std::span<float> noise;

  // Splits w, the increment over `node`: left gets its left half's, w the right half's.
  void Split(const Node& node, std::span<float> w, std::span<float> left) const {
    const std::array<uint32_t, 2> spawn_key = {node.key, node.depth};
    NoiseStream(rng, NodeSeed(seed, spawn_key)).Fill(noise);
    const double middle = node.middle(), width = node.end - node.start;
    const double left_width = middle - node.start, right_width = node.end - middle;
    const auto scale = static_cast<float>(left_width), reciprocal = static_cast<float>(1 / width);
    const auto deviation = static_cast<float>(std::sqrt(left_width * right_width * (1 / width)));
    for (size_t i = 0; i < w.size(); ++i) {
      left[i] = scale * w[i] * reciprocal + deviation * noise[i];
      w[i] -= left[i];
    }
  }
};

void Add(std::span<float> sum, std::span<const float> w) {
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += w[i];
}

// sum += the increment over [from, node.end].
void AddEnd(const Walk& walk, Node node, double from, std::span<float> w, std::span<float> other,
            std::span<float> sum) {
  while (from > node.start && from < node.end) {
    walk.Split(node, w, other);
    if (from < node.middle()) {
      Add(sum, w);
      std::swap(w, other);
      node = node.Left();
    } else {
      node = node.Right();
    }
  }
  if (from <= node.start) Add(sum, w);
}

// sum += the increment over [node.start, to].
void AddStart(const Walk& walk, Node node, double to, std::span<float> w, std::span<float> other,
              std::span<float> sum) {
  while (to > node.start && to < node.end) {
    walk.Split(node, w, other);
    if (to > node.middle()) {
      Add(sum, other);
      node = node.Right();
    } else {
      std::swap(w, other);
      node = node.Left();
    }
  }
  if (to >= node.end) Add(sum, w);
}

}  // namespace

BrownianTree::BrownianTree(Rng rng, uint64_t seed, float sigma_min, float sigma_max)
    : rng_(rng), seed_(seed), sigma_min_(sigma_min), sigma_max_(sigma_max) {
  INGOT_CHECK(sigma_min <= sigma_max);
}

void BrownianTree::Fill(float sigma, float sigma_next, std::span<float> out,
                        std::span<float> scratch) const {
  INGOT_CHECK(scratch.size() >= kNumBuffers * out.size());
  const size_t n = out.size();
  std::span<float> w = scratch.first(n), other = scratch.subspan(n, n);
  const Walk walk = {rng_, seed_, scratch.subspan(2 * n, n)};
  std::fill(out.begin(), out.end(), 0.0f);
  Node node = {Round6(sigma_min_), Round6(sigma_max_)};
  const double from = std::clamp(Round6(sigma_next), node.start, node.end);
  const double to = std::clamp(Round6(sigma), node.start, node.end);
  if (from >= to) return;

  const auto set_root = [&] {
    NoiseStream(rng_, NodeSeed(seed_, {})).Fill(w);
    const auto deviation = static_cast<float>(std::sqrt(sigma_max_ - sigma_min_));
    for (float& value : w) value *= deviation;
  };
  // The smallest node that holds [from, to], then its two halves, each from the root down: the
  // second walk is cheaper than a fourth buffer.
  const auto descend = [&] {
    node = {Round6(sigma_min_), Round6(sigma_max_)};
    set_root();
    while (!(from == node.start && to == node.end)) {
      const double middle = node.middle();
      if (from < middle && to > middle) break;
      walk.Split(node, w, other);
      if (to <= middle) std::swap(w, other);
      node = to <= middle ? node.Left() : node.Right();
    }
  };
  descend();
  if (from == node.start && to == node.end) {
    Add(out, w);
  } else {
    const Node top = node;
    walk.Split(top, w, other);
    AddStart(walk, top.Right(), to, w, other, out);
    descend();
    walk.Split(top, w, other);
    AddEnd(walk, top.Left(), from, other, w, out);
  }
  const float scale = -1.0f / std::sqrt(sigma - sigma_next);
  for (float& value : out) value *= scale;
}

}  // namespace ingot
