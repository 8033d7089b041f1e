#include "pipeline/embedding_cache.h"

#include <algorithm>
#include <fstream>

#include "base/file.h"
#include "base/sha256.h"
#include "pipeline/record.h"

namespace ingot {
namespace {

namespace fs = std::filesystem;

constexpr size_t kHexDigits = 64;

// An entry is the values and the SHA-256 of them: a torn or rotten one is found.
std::string Checksum(std::span<const float> values) { return Sha256(std::as_bytes(values)); }

}  // namespace

std::string EmbeddingCache::Key(std::string_view phase, const Component& encoder,
                                const WeightedTokens& tokens, Precision precision,
                                std::string_view device) {
  std::string text = fmt::format("{}|{}|{}|{}|{}|", phase, kNumericsVersion, Name(precision),
                                 device, encoder.tensors.file->file().identity());
  for (size_t i = 0; i < tokens.ids.size(); ++i) {
    text += fmt::format("{}:{:a} ", tokens.ids[i], tokens.weights[i]);
  }
  return Sha256(std::as_bytes(std::span(text)));
}

bool EmbeddingCache::Load(const std::string& key, std::span<float> values) const {
  const fs::path path = folder_ / key;
  std::ifstream in(path, std::ios::binary);
  std::string checksum(kHexDigits, '\0');
  if (!in.read(reinterpret_cast<char*>(values.data()),
               static_cast<std::streamsize>(values.size_bytes())) ||
      !in.read(checksum.data(), kHexDigits) || in.peek() != std::ifstream::traits_type::eof() ||
      checksum != Checksum(values)) {
    return false;
  }
  std::error_code ignored;
  fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);  // used now: see Trim
  return true;
}

void EmbeddingCache::Store(const std::string& key, std::span<const float> values) const {
  std::error_code ignored;
  fs::create_directories(folder_, ignored);
  const auto out = AtomicFile::Create(folder_ / key);
  if (!out.ok()) return;
  const std::string checksum = Checksum(values);
  if ((*out)->Write(std::as_bytes(values)).ok() &&
      (*out)->Write(std::as_bytes(std::span(checksum))).ok()) {
    static_cast<void>((*out)->Commit());
  }
  Trim();
}

void EmbeddingCache::Trim() const {
  struct Entry {
    fs::file_time_type used;
    fs::path path;
    int64_t num_bytes;
  };
  std::vector<Entry> entries;
  int64_t num_bytes = 0;
  std::error_code error;
  for (fs::directory_iterator it(folder_, error), end; !error && it != end; it.increment(error)) {
    std::error_code gone;  // another process may trim as well
    const auto size = static_cast<int64_t>(it->file_size(gone));
    const fs::file_time_type used = gone ? fs::file_time_type() : it->last_write_time(gone);
    if (gone || it->path().filename().native().size() != kHexDigits) continue;
    entries.push_back({used, it->path(), size});
    num_bytes += size;
  }
  std::ranges::sort(entries, {}, &Entry::used);
  for (const Entry& entry : entries) {
    if (num_bytes <= max_bytes_) break;
    fs::remove(entry.path, error);
    num_bytes -= entry.num_bytes;
  }
}

}  // namespace ingot
