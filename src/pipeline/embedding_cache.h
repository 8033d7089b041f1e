// Results of text encoders on disk: a prompt that was encoded once is not encoded again.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "graph/passes/precision.h"
#include "library/component.h"
#include "text/prompt_tokens.h"

namespace ingot {

// A folder of files, one an embedding, named by the SHA-256 of all that its bits follow from. Many
// processes may use one folder. A cache that cannot be read or written is no fault: the prompt is
// then encoded.
class EmbeddingCache {
 public:
  // At most so much on disk; the longest unused go first. T5-XXL's embedding of 256 tokens is 4
  // MiB.
  static constexpr int64_t kMaxBytes = 512 << 20;

  explicit EmbeddingCache(std::filesystem::path folder, int64_t max_bytes = kMaxBytes)
      : folder_(std::move(folder)), max_bytes_(max_bytes) {}

  // The encoder's file at this version of its content, what the network is run with, the
  // precision, the device and kNumericsVersion.
  static std::string Key(std::string_view phase, const Component& encoder,
                         const WeightedTokens& tokens, Precision precision,
                         std::string_view device);

  // Fills `values`; false when there is no whole entry of that size.
  bool Load(const std::string& key, std::span<float> values) const;
  void Store(const std::string& key, std::span<const float> values) const;

 private:
  void Trim() const;

  const std::filesystem::path folder_;
  const int64_t max_bytes_;
};

}  // namespace ingot
