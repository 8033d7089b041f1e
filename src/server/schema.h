// What a JSON body may hold: one table that validates requests and writes /openapi.json.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/json.h"

namespace ingot::server {

enum class FieldType : uint8_t { kString, kInteger, kNumber, kBoolean, kObject, kArray, kAny };

struct Field {
  std::string name;
  FieldType type = FieldType::kAny;
  std::string description;
  Json default_value = {};  // null: none; absent and null fields get it
  double minimum = -std::numeric_limits<double>::infinity();
  double maximum = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  // of a string; empty: any
  bool is_required = false;
  size_t max_length = 1 << 20;  // of strings, in bytes; of arrays, in items
  // What an array holds, or the fields of an object; empty: anything.
  std::optional<FieldType> items = {};
};

struct Schema {
  std::string name;  // in /openapi.json
  std::vector<Field> fields;
  // As Forge's clients need it: null is absent, "7.0" is a number, 12.0 and 12.5 are whole
  // numbers (cut), "true" is a boolean, unknown keys pass and are dropped. Strict otherwise.
  bool is_lenient = true;
};

// One fault of a body, in the form of Forge's 422: {"detail":[{"type","loc","msg","input"}]}.
struct FieldFault {
  std::string field;
  std::string message;  // "steps: expected a whole number from 1 to 1000, found \"many\""
  Json input;
  std::string type = "value_error";  // "missing", "int_parsing", "string_type", …
};

struct Validated {
  Json values;  // of every field that is given or has a default; in the table's order
  std::vector<FieldFault> faults;
};
Validated Validate(const Schema& schema, const Json& body);

// The JSON that `text` is. kInvalidArgument where it is none, nests deeper than kMaxJsonDepth or
// holds more than kMaxJsonValues values: the parser's time grows with the square of an object's
// keys, its memory with their number.
inline constexpr int kMaxJsonDepth = 64;
inline constexpr int kMaxJsonValues = 16384;
Result<Json> ParseJson(std::string_view text);

// The schema as OpenAPI 3.1 writes it.
Json OpenApiSchema(const Schema& schema);

}  // namespace ingot::server
