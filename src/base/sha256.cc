#include "base/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

namespace ingot {

class FileSha256::Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    INGOT_CHECK(EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1);
  }
  void Update(std::span<const std::byte> bytes) {
    INGOT_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  std::string Hex() {
    std::array<unsigned char, 32> digest;
    INGOT_CHECK(EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) == 1);
    std::string hex;
    for (unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
    return hex;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

std::string Sha256(std::span<const std::byte> bytes) {
  FileSha256::Digest digest;
  digest.Update(bytes);
  return digest.Hex();
}

Result<std::string> Sha256OfFile(const File& file, std::stop_token stop) {
  constexpr uint64_t kPieceBytes = 1 << 20;
  FileSha256::Digest digest;
  std::vector<std::byte> piece(std::min(kPieceBytes, file.size_bytes()));
  for (uint64_t offset = 0; offset < file.size_bytes(); offset += kPieceBytes) {
    if (stop.stop_requested()) return Cancelled("cancelled by the caller");
    const auto bytes = std::span(piece).first(std::min(kPieceBytes, file.size_bytes() - offset));
    INGOT_RETURN_IF_ERROR(file.ReadAndDrop(offset, bytes));
    digest.Update(bytes);
  }
  return digest.Hex();
}

FileSha256::FileSha256(std::shared_ptr<const File> file)
    : file_(std::move(file)), digest_(std::make_unique<Digest>()) {}
FileSha256::~FileSha256() = default;

Result<std::optional<std::string>> FileSha256::Continue(std::chrono::milliseconds time) {
  constexpr uint64_t kPieceBytes = 256 << 10;
  const auto end = std::chrono::steady_clock::now() + time;
  std::vector<std::byte> piece(std::min(kPieceBytes, file_->size_bytes() - offset_));
  while (offset_ < file_->size_bytes()) {
    const auto bytes =
        std::span(piece).first(std::min<uint64_t>(piece.size(), file_->size_bytes() - offset_));
    INGOT_RETURN_IF_ERROR(file_->ReadAndDrop(offset_, bytes));
    digest_->Update(bytes);
    offset_ += bytes.size();
    if (offset_ < file_->size_bytes() && std::chrono::steady_clock::now() >= end) {
      return std::optional<std::string>();
    }
  }
  INGOT_RETURN_IF_ERROR(file_->CheckUnchanged());
  return std::optional(digest_->Hex());
}

std::optional<std::string> RememberedSha256(const File& file,
                                            const std::filesystem::path& cache_folder) {
  constexpr size_t kHexDigits = 64;
  const Result<std::string> cached = ReadSmallFile(cache_folder / file.identity(), kHexDigits);
  if (!cached.ok() || cached->size() != kHexDigits ||
      cached->find_first_not_of("0123456789abcdef") != std::string::npos) {
    return std::nullopt;
  }
  return *cached;
}

void RememberSha256(const File& file, const std::filesystem::path& cache_folder,
                    const std::string& sha256) {
  std::error_code ignored;
  std::filesystem::create_directories(cache_folder, ignored);
  if (const auto out = AtomicFile::Create(cache_folder / file.identity()); out.ok()) {
    if ((*out)->Write(std::as_bytes(std::span(sha256))).ok()) static_cast<void>((*out)->Commit());
  }
}

Result<std::string> CachedSha256OfFile(const File& file, const std::filesystem::path& cache_folder,
                                       std::stop_token stop) {
  if (std::optional<std::string> known = RememberedSha256(file, cache_folder)) return *known;
  INGOT_ASSIGN_OR_RETURN(const std::string hash, Sha256OfFile(file, stop));
  RememberSha256(file, cache_folder, hash);
  return hash;
}

}  // namespace ingot
