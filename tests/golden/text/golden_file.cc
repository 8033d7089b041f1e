// zlib reads plain files too, so one way does for both.
#include "golden_file.h"

#include <zlib.h>

namespace ingot {
namespace {

class Reader {
 public:
  explicit Reader(std::string content) : content_(std::move(content)) {}
  bool done() const { return at_ >= content_.size(); }

  uint64_t Number() {
    uint64_t value = 0;
    for (int shift = 0; !done(); shift += 7) {
      const auto byte = static_cast<uint8_t>(content_[at_++]);
      value |= uint64_t{byte & 0x7fu} << shift;
      if (!(byte & 0x80)) break;
    }
    return value;
  }

  std::string Bytes() {
    const size_t size = Number();
    at_ += size;
    return content_.substr(at_ - size, size);
  }

 private:
  std::string content_;
  size_t at_ = 0;
};

}  // namespace

std::string ReadGolden(const std::string& name) {
  const std::string path = std::string(INGOT_SOURCE_DIR) + "/tests/golden/text/" + name;
  std::string content;
  gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr) return content;
  char buffer[1 << 16];
  for (int count; (count = gzread(file, buffer, sizeof buffer)) > 0;) content.append(buffer, count);
  gzclose(file);
  return content;
}

std::vector<std::string> ReadStrings(const std::string& name) {
  Reader reader(ReadGolden(name));
  std::vector<std::string> strings(reader.Number());
  for (std::string& text : strings) text = reader.Bytes();
  return strings;
}

std::vector<std::vector<int32_t>> ReadIds(const std::string& name) {
  Reader reader(ReadGolden(name));
  std::vector<std::vector<int32_t>> rows;
  while (!reader.done()) {
    rows.emplace_back(reader.Number());
    for (int32_t& id : rows.back()) id = static_cast<int32_t>(reader.Number());
  }
  return rows;
}

}  // namespace ingot
