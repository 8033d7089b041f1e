#include "server/infotext.h"

#include <optional>

#include "engine/json.h"
#include "server/text.h"

namespace ingot::server {
namespace {

constexpr std::string_view kNegative = "Negative prompt:";

bool IsWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

// One `Key: value,` at `at`; moves behind it. The reference's
//   \s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)
std::optional<std::pair<std::string, std::string>> TakeField(std::string_view line, size_t& at) {
  size_t i = at;
  while (i < line.size() && line[i] == ' ') ++i;
  const size_t key_begin = i;
  if (i == line.size() || !IsWord(line[i])) return std::nullopt;
  while (i < line.size() && (IsWord(line[i]) || line[i] == ' ' || line[i] == '-' || line[i] == '/'))
    ++i;
  if (i == line.size() || line[i] != ':' || i - key_begin < 2) return std::nullopt;
  const std::string key(line.substr(key_begin, i - key_begin));
  ++i;
  while (i < line.size() && line[i] == ' ') ++i;
  if (i < line.size() && line[i] == '"') {
    size_t end = i + 1;
    while (end < line.size() && line[end] != '"') end += line[end] == '\\' ? 2 : 1;
    if (end < line.size() && (end + 1 == line.size() || line[end + 1] == ',')) {
      const std::string_view quoted = line.substr(i, end + 1 - i);
      const Json value = Json::parse(quoted, nullptr, false);
      at = std::min(end + 2, line.size());
      return std::pair(key, value.is_string() ? value.get<std::string>() : std::string(quoted));
    }
  }
  const size_t comma = std::min(line.find(',', i), line.size());
  at = std::min(comma + 1, line.size());
  return std::pair(key, std::string(Trim(line.substr(i, comma - i))));
}

std::vector<std::pair<std::string, std::string>> ParseFields(std::string_view line) {
  std::vector<std::pair<std::string, std::string>> fields;
  size_t at = 0;
  while (at < line.size()) {
    const auto field = TakeField(line, at);
    if (field) {
      fields.push_back(*field);
    } else {
      at = std::min(line.find(',', at), line.size());
      if (at < line.size()) ++at;
    }
  }
  return fields;
}

void AddSides(std::vector<std::pair<std::string, std::string>>& fields) {
  const size_t num_fields = fields.size();
  for (size_t i = 0; i < num_fields; ++i) {
    const auto [key, value] = fields[i];
    const size_t x = value.find('x');
    if (x == std::string::npos || x == 0 || x + 1 == value.size()) continue;
    if (value.find_first_not_of("0123456789x") != std::string::npos) continue;
    fields.emplace_back(key + "-1", value.substr(0, x));
    fields.emplace_back(key + "-2", value.substr(x + 1));
  }
}

}  // namespace

std::string_view Infotext::field(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return {};
}

Infotext ParseInfotext(std::string_view text) {
  text = Trim(text);
  const size_t last_break = text.rfind('\n');
  const std::string_view last =
      last_break == std::string_view::npos ? text : text.substr(last_break + 1);
  Infotext info{.fields = ParseFields(last)};
  std::string_view prompts = text;
  if (info.fields.size() >= 3) {
    prompts = text.substr(0, last_break == std::string_view::npos ? 0 : last_break);
  } else {
    info.fields.clear();
  }
  AddSides(info.fields);
  const size_t negative =
      prompts.starts_with(kNegative) ? 0 : prompts.find("\n" + std::string(kNegative));
  info.prompt = Trim(prompts.substr(0, negative));
  if (negative != std::string_view::npos) {
    const size_t begin = prompts.find(':', negative) + 1;
    info.negative_prompt = Trim(prompts.substr(begin));
  }
  return info;
}

}  // namespace ingot::server
