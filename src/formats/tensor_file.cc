#include "formats/tensor_file.h"

#include <algorithm>
#include <array>

#include "formats/foreign.h"
#include "formats/gguf.h"
#include "formats/names.h"
#include "formats/safetensors.h"

namespace ingot {
namespace {

Status CheckInsideFile(const File& file, const TensorEntry& entry) {
  const auto num_bytes = static_cast<uint64_t>(entry.num_bytes);
  if (num_bytes <= file.size_bytes() && entry.offset <= file.size_bytes() - num_bytes) return {};
  return Corruption("{}: tensor {}: expected {} bytes at offset {}, found a file of {} bytes",
                    file.path(), Quoted(entry.name), num_bytes, entry.offset, file.size_bytes());
}

Status CheckApart(const File& file, const std::vector<TensorEntry>& entries) {
  std::vector<const TensorEntry*> by_offset;
  for (const TensorEntry& entry : entries) {
    if (entry.num_bytes > 0) by_offset.push_back(&entry);
  }
  std::ranges::sort(by_offset, {}, &TensorEntry::offset);
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const TensorEntry& before = *by_offset[i - 1];
    const TensorEntry& entry = *by_offset[i];
    const uint64_t before_end = before.offset + static_cast<uint64_t>(before.num_bytes);
    if (entry.offset < before_end) {
      return Corruption(
          "{}: tensor {}: expected to begin at offset {} or later, where {} ends, found {}",
          file.path(), Quoted(entry.name), before_end, Quoted(before.name), entry.offset);
    }
  }
  return {};
}

bool LooksLikeSafetensors(std::string_view head) {
  // Eight bytes of header length, then JSON, which the reference wants to begin
  // at once. In a text with '{' in that place the last of the eight is a letter.
  return head.size() > 8 && head[8] == '{' && (head[7] < ' ' || head[7] > '~');
}

}  // namespace

TensorFile::TensorFile(Contents contents) : contents_(std::move(contents)) {}

Result<TensorFile> TensorFile::Make(Contents contents) {
  TensorFile made(std::move(contents));
  for (const TensorEntry& entry : made.entries()) {
    if (!made.by_name_.emplace(entry.name, &entry).second) {
      return Corruption("{}: tensor {}: expected a name of its own, found it twice", made.path(),
                        Quoted(entry.name));
    }
    INGOT_RETURN_IF_ERROR(CheckInsideFile(made.file(), entry));
  }
  INGOT_RETURN_IF_ERROR(CheckApart(made.file(), made.entries()));
  return made;
}

Result<TensorFile> TensorFile::WithEntries(std::vector<TensorEntry> entries) && {
  contents_.entries = std::move(entries);
  return Make(std::move(contents_));
}

const TensorEntry* TensorFile::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

Status TensorFile::ReadTensor(const TensorEntry& entry, std::span<std::byte> out) const {
  INGOT_CHECK(out.size() == static_cast<size_t>(entry.num_bytes));
  return file().ReadAndDrop(entry.offset, out);
}

Result<TensorFile> OpenTensorFile(const std::filesystem::path& path) {
  INGOT_ASSIGN_OR_RETURN(std::shared_ptr<const File> file, File::Open(path));
  std::string head(std::min<uint64_t>(file->size_bytes(), 256), '\0');
  INGOT_RETURN_IF_ERROR(file->Read(0, std::as_writable_bytes(std::span(head))));
  if (head.starts_with(kGgufMagic)) return ReadGguf(std::move(file));
  if (LooksLikeSafetensors(head)) return ReadSafetensors(std::move(file));
  return Unsupported("{}: expected a GGUF or safetensors file, found {}", file->path(),
                     DescribeForeignFile(head));
}

}  // namespace ingot
