#include "server/schema.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "server/http.h"

namespace ingot::server {
namespace {

constexpr size_t kMaxShownBytes = 80;   // of a wrong value in a message
constexpr size_t kMaxInputBytes = 256;  // of a wrong value that is sent back

std::string_view Trim(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

template <typename T>
std::optional<T> ParseNumber(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value = {};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Cut towards zero; whole numbers of 64 bits only.
std::optional<Json> Whole(double value) {
  if (!std::isfinite(value)) return std::nullopt;
  const double whole = std::trunc(value);
  if (whole >= -0x1p63 && whole < 0x1p63) return Json(static_cast<int64_t>(whole));
  if (whole >= 0 && whole < 0x1p64) return Json(static_cast<uint64_t>(whole));
  return std::nullopt;
}

std::optional<Json> NumberOf(std::string_view text, bool is_whole) {
  text = Trim(text);
  if (is_whole) {
    if (const auto value = ParseNumber<int64_t>(text)) return Json(*value);
    if (const auto value = ParseNumber<uint64_t>(text)) return Json(*value);
  }
  const std::optional<double> value = ParseNumber<double>(text);
  if (!value || !std::isfinite(*value)) return std::nullopt;
  return is_whole ? Whole(*value) : Json(*value);
}

std::optional<Json> BooleanOf(std::string_view text) {
  text = Trim(text);
  if (EqualsIgnoringCase(text, "true") || text == "1") return Json(true);
  if (EqualsIgnoringCase(text, "false") || text == "0") return Json(false);
  return std::nullopt;
}

// `value` as `type`, or none.
std::optional<Json> Coerce(FieldType type, const Json& value, bool is_lenient) {
  const bool is_text = is_lenient && value.is_string();
  switch (type) {
    case FieldType::kString:
      if (value.is_string()) return value;
      break;
    case FieldType::kInteger:
      if (value.is_number_integer()) return value;
      if (value.is_number_float()) {
        const double number = value.get<double>();
        if (is_lenient || number == std::trunc(number)) return Whole(number);
      }
      if (is_text) return NumberOf(value.get_ref<const std::string&>(), true);
      break;
    case FieldType::kNumber:
      if (value.is_number()) return value;
      if (is_text) return NumberOf(value.get_ref<const std::string&>(), false);
      break;
    case FieldType::kBoolean:
      if (value.is_boolean()) return value;
      if (is_lenient && value.is_number_integer() && (value == 0 || value == 1)) {
        return Json(value == 1);
      }
      if (is_text) return BooleanOf(value.get_ref<const std::string&>());
      break;
    case FieldType::kObject:
      if (value.is_object()) return value;
      break;
    case FieldType::kArray:
      if (value.is_array()) return value;
      break;
    case FieldType::kAny:
      return value;
  }
  return std::nullopt;
}

std::string_view Noun(FieldType type) {
  switch (type) {
    case FieldType::kString:
      return "text";
    case FieldType::kInteger:
      return "a whole number";
    case FieldType::kNumber:
      return "a number";
    case FieldType::kBoolean:
      return "true or false";
    case FieldType::kObject:
      return "an object";
    case FieldType::kArray:
      return "an array";
    case FieldType::kAny:
      return "a value";
  }
  return "";
}

// Pydantic's names, which clients of Forge may know.
std::string_view FaultType(FieldType type, bool is_text) {
  switch (type) {
    case FieldType::kString:
      return "string_type";
    case FieldType::kInteger:
      return is_text ? "int_parsing" : "int_type";
    case FieldType::kNumber:
      return is_text ? "float_parsing" : "float_type";
    case FieldType::kBoolean:
      return is_text ? "bool_parsing" : "bool_type";
    case FieldType::kObject:
      return "dict_type";
    case FieldType::kArray:
      return "list_type";
    case FieldType::kAny:
      break;
  }
  return "value_error";
}

std::string NumberText(double value) {
  if (value == std::trunc(value) && std::abs(value) < 0x1p53) {
    return fmt::format("{}", static_cast<int64_t>(value));
  }
  return fmt::format("{}", value);
}

bool HasMinimum(const Field& field) { return std::isfinite(field.minimum); }
bool HasMaximum(const Field& field) { return std::isfinite(field.maximum); }

std::string Expected(const Field& field) {
  std::string text(Noun(field.type));
  if (field.type == FieldType::kArray && field.items) {
    text += fmt::format(" that holds {} in each place", Noun(*field.items));
  }
  if (field.type == FieldType::kInteger || field.type == FieldType::kNumber) {
    if (HasMinimum(field)) text += " from " + NumberText(field.minimum);
    if (HasMaximum(field)) text += " to " + NumberText(field.maximum);
  }
  if (!field.choices.empty()) text = fmt::format("one of {}", fmt::join(field.choices, ", "));
  return text;
}

// At most `max_bytes`, cut between code points.
std::string Cut(std::string text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xC0) == 0x80) --max_bytes;
  return text.substr(0, max_bytes) + "…";
}

// A picture of many MB that is wrong is neither shown nor sent back.
std::string Shown(const Json& value) {
  if (value.is_string()) {
    return Dump(Json(Cut(value.get_ref<const std::string&>(), kMaxShownBytes)));
  }
  return Cut(Dump(value), kMaxShownBytes);
}

Json ShortInput(const Json& value) {
  if (value.is_string()) return Cut(value.get_ref<const std::string&>(), kMaxInputBytes);
  if (!value.is_structured()) return value;
  std::string text = Dump(value);
  return text.size() <= kMaxInputBytes ? value : Json(Cut(std::move(text), kMaxInputBytes));
}

FieldFault Fault(const std::string& name, std::string_view expected, const Json& found,
                 std::string_view type) {
  return {.field = name,
          .message = fmt::format("{}: expected {}, found {}", name, expected, Shown(found)),
          .input = ShortInput(found),
          .type = std::string(type)};
}

std::optional<FieldFault> CheckItems(const Field& field, Json& values, bool is_lenient) {
  for (size_t i = 0; i < values.size(); ++i) {
    std::optional<Json> item = Coerce(*field.items, values[i], is_lenient);
    if (!item) {
      return Fault(fmt::format("{}.{}", field.name, i), Noun(*field.items), values[i],
                   FaultType(*field.items, values[i].is_string()));
    }
    values[i] = *std::move(item);
  }
  return std::nullopt;
}

// Of a value that has its type.
std::optional<FieldFault> CheckValue(const Field& field, Json& value, bool is_lenient) {
  if (value.is_number()) {
    const auto number = value.get<long double>();  // holds every whole number of 64 bits
    if (number < field.minimum) {
      return Fault(field.name, Expected(field), value, "greater_than_equal");
    }
    if (number > field.maximum) return Fault(field.name, Expected(field), value, "less_than_equal");
  }
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    if (text.size() > field.max_length) {
      return FieldFault{field.name,
                        fmt::format("{}: expected at most {} bytes, found {}", field.name,
                                    field.max_length, text.size()),
                        ShortInput(value), "string_too_long"};
    }
    if (!field.choices.empty() &&
        std::find(field.choices.begin(), field.choices.end(), text) == field.choices.end()) {
      return Fault(field.name, Expected(field), value, "enum");
    }
  }
  if (value.is_array()) {
    if (value.size() > field.max_length) {
      return FieldFault{field.name,
                        fmt::format("{}: expected at most {} items, found {}", field.name,
                                    field.max_length, value.size()),
                        ShortInput(value), "too_long"};
    }
    if (field.items) return CheckItems(field, value, is_lenient);
  }
  return std::nullopt;
}

std::string_view OpenApiType(FieldType type) {
  switch (type) {
    case FieldType::kString:
      return "string";
    case FieldType::kInteger:
      return "integer";
    case FieldType::kNumber:
      return "number";
    case FieldType::kBoolean:
      return "boolean";
    case FieldType::kObject:
      return "object";
    case FieldType::kArray:
      return "array";
    case FieldType::kAny:
      break;
  }
  return "";
}

Json OpenApiField(const Field& field, bool is_nullable) {
  Json json = Json::object();
  if (field.type != FieldType::kAny) {
    const std::string_view type = OpenApiType(field.type);
    json["type"] = is_nullable ? Json::array({type, "null"}) : Json(type);
  }
  if (!field.description.empty()) json["description"] = field.description;
  if (!field.default_value.is_null()) json["default"] = field.default_value;
  if (field.type == FieldType::kInteger || field.type == FieldType::kNumber) {
    const auto bound = [](double value) {
      const std::optional<Json> whole = value == std::trunc(value) ? Whole(value) : std::nullopt;
      return whole ? *whole : Json(value);
    };
    if (HasMinimum(field)) json["minimum"] = bound(field.minimum);
    if (HasMaximum(field)) json["maximum"] = bound(field.maximum);
  }
  if (!field.choices.empty()) {
    json["enum"] = field.choices;
    if (is_nullable) json["enum"].push_back(nullptr);
  }
  if (field.type == FieldType::kArray) {
    json["items"] = Json::object();
    if (field.items && *field.items != FieldType::kAny) {
      json["items"]["type"] = OpenApiType(*field.items);
    }
  }
  return json;
}

}  // namespace

Validated Validate(const Schema& schema, const Json& body) {
  Validated validated = {.values = Json::object(), .faults = {}};
  if (!body.is_object()) {
    validated.faults.push_back(
        {.field = "",
         .message = fmt::format("body: expected an object, found {}", Shown(body)),
         .input = ShortInput(body),
         .type = "dict_type"});
    return validated;
  }
  if (!schema.is_lenient) {
    for (const auto& [key, value] : body.items()) {
      const bool is_known = std::any_of(schema.fields.begin(), schema.fields.end(),
                                        [&](const Field& field) { return field.name == key; });
      if (!is_known) {
        const std::string name = Cut(key, kMaxShownBytes);
        validated.faults.push_back(
            {.field = name,
             .message =
                 fmt::format("{}: expected a field of {}, found an unknown one", name, schema.name),
             .input = ShortInput(value),
             .type = "extra_forbidden"});
      }
    }
  }
  for (const Field& field : schema.fields) {
    const auto found = body.find(field.name);
    const bool is_absent = found == body.end() || found->is_null();
    if (is_absent) {
      if (field.is_required) {
        validated.faults.push_back(
            {.field = field.name,
             .message = fmt::format("{}: expected {}, found none", field.name, Expected(field)),
             .input = nullptr,
             .type = "missing"});
      } else if (!field.default_value.is_null()) {
        validated.values[field.name] = field.default_value;
      }
      continue;
    }
    std::optional<Json> value = Coerce(field.type, *found, schema.is_lenient);
    if (!value) {
      validated.faults.push_back(
          Fault(field.name, Expected(field), *found, FaultType(field.type, found->is_string())));
    } else if (std::optional<FieldFault> fault = CheckValue(field, *value, schema.is_lenient)) {
      validated.faults.push_back(*std::move(fault));
    } else {
      validated.values[field.name] = *std::move(value);
    }
  }
  return validated;
}

Result<Json> ParseJson(std::string_view text) {
  int depth = 0, num_values = 1;
  bool is_quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_quoted) {
      if (c == '\\') ++i;
      if (c == '"') is_quoted = false;
    } else if (c == '"') {
      is_quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxJsonDepth) {
        return InvalidArgument("body: expected at most {} levels of JSON, found more",
                               kMaxJsonDepth);
      }
      ++num_values;
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == ',' && ++num_values > kMaxJsonValues) {
      return InvalidArgument("body: expected at most {} values of JSON, found more",
                             kMaxJsonValues);
    }
  }
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return InvalidArgument("body: expected JSON, found {}", Shown(Json(std::string(text))));
  }
  return json;
}

Json OpenApiSchema(const Schema& schema) {
  Json json = {{"type", "object"}};
  Json properties = Json::object(), required = Json::array();
  for (const Field& field : schema.fields) {
    if (field.is_required) required.push_back(field.name);
    properties[field.name] = OpenApiField(field, !field.is_required);
  }
  json["properties"] = std::move(properties);
  if (!required.empty()) json["required"] = std::move(required);
  json["additionalProperties"] = schema.is_lenient;
  return json;
}

}  // namespace ingot::server
