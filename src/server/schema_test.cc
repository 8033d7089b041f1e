#include "server/schema.h"

#include <gtest/gtest.h>

#include <random>

namespace ingot::server {
namespace {

Schema Txt2Img() {
  return {.name = "Txt2Img",
          .fields = {{.name = "prompt", .type = FieldType::kString, .default_value = ""},
                     {.name = "steps",
                      .type = FieldType::kInteger,
                      .default_value = 20,
                      .minimum = 1,
                      .maximum = 1000},
                     {.name = "cfg_scale", .type = FieldType::kNumber},
                     {.name = "seed", .type = FieldType::kInteger},
                     {.name = "enable_hr", .type = FieldType::kBoolean},
                     {.name = "styles",
                      .type = FieldType::kArray,
                      .max_length = 3,
                      .items = FieldType::kString},
                     {.name = "override_settings", .type = FieldType::kObject},
                     {.name = "mode", .type = FieldType::kString, .choices = {"a", "b"}}}};
}

TEST(SchemaTest, NullAndAbsentFieldsGetTheDefault) {
  const Validated validated = Validate(Txt2Img(), {{"steps", nullptr}});
  EXPECT_TRUE(validated.faults.empty());
  EXPECT_EQ(validated.values, (Json{{"prompt", ""}, {"steps", 20}}));
}

TEST(SchemaTest, LenientScalarsAreRead) {
  const Validated validated = Validate(Txt2Img(), {{"steps", "12.0"},
                                                   {"cfg_scale", "7.0"},
                                                   {"seed", " -1 "},
                                                   {"enable_hr", "False"},
                                                   {"unknown", 1}});
  EXPECT_TRUE(validated.faults.empty());
  EXPECT_EQ(
      validated.values,
      (Json{
          {"prompt", ""}, {"steps", 12}, {"cfg_scale", 7.0}, {"seed", -1}, {"enable_hr", false}}));
}

TEST(SchemaTest, FractionsAreCutToWholeNumbers) {
  EXPECT_EQ(Validate(Txt2Img(), {{"steps", 12.5}}).values["steps"], 12);
}

TEST(SchemaTest, SeedsKeepAll64Bits) {
  const uint64_t seed = 18446744073709551615u;
  EXPECT_EQ(Validate(Txt2Img(), {{"seed", seed}}).values["seed"], seed);
  EXPECT_EQ(Validate(Txt2Img(), {{"seed", "18446744073709551615"}}).values["seed"], seed);
  EXPECT_EQ(Validate(Txt2Img(), {{"seed", 1e30}}).faults.size(), 1u);
}

TEST(SchemaTest, AFaultNamesFieldExpectedAndFound) {
  const Validated validated = Validate(Txt2Img(), {{"steps", "many"}});
  ASSERT_EQ(validated.faults.size(), 1u);
  EXPECT_EQ(validated.faults[0].field, "steps");
  EXPECT_EQ(validated.faults[0].message,
            "steps: expected a whole number from 1 to 1000, found \"many\"");
  EXPECT_EQ(validated.faults[0].type, "int_parsing");
  EXPECT_EQ(validated.faults[0].input, "many");
}

TEST(SchemaTest, WrongValuesAreRefused) {
  for (const Json& body :
       {Json{{"steps", 0}}, Json{{"steps", 1001}}, Json{{"steps", Json::array()}},
        Json{{"prompt", 7}}, Json{{"cfg_scale", "nan"}}, Json{{"cfg_scale", "inf"}},
        Json{{"cfg_scale", ""}}, Json{{"enable_hr", 2}}, Json{{"styles", Json::array({1})}},
        Json{{"styles", Json::array({"a", "b", "c", "d"})}},
        Json{{"override_settings", Json::array()}}, Json{{"mode", "c"}}, Json::array(), Json(3)}) {
    EXPECT_EQ(Validate(Txt2Img(), body).faults.size(), 1u) << body;
  }
}

TEST(SchemaTest, AStrictSchemaTakesNoTextForNumbersAndNoUnknownKeys) {
  Schema schema = Txt2Img();
  schema.is_lenient = false;
  EXPECT_EQ(Validate(schema, {{"steps", "12"}}).faults.size(), 1u);
  EXPECT_EQ(Validate(schema, {{"steps", 12.5}}).faults.size(), 1u);
  EXPECT_EQ(Validate(schema, {{"steps", 12.0}}).values["steps"], 12);
  EXPECT_EQ(Validate(schema, {{"color", 1}}).faults.at(0).type, "extra_forbidden");
}

TEST(SchemaTest, ARequiredFieldIsMissing) {
  const Schema schema = {
      .name = "S", .fields = {{.name = "image", .type = FieldType::kString, .is_required = true}}};
  EXPECT_EQ(Validate(schema, Json::object()).faults.at(0).type, "missing");
  EXPECT_EQ(Validate(schema, {{"image", nullptr}}).faults.at(0).message,
            "image: expected text, found none");
}

TEST(SchemaTest, AWrongPictureIsNotSentBack) {
  const Validated validated = Validate(Txt2Img(), {{"steps", std::string(1 << 20, 'x')}});
  EXPECT_LT(validated.faults.at(0).message.size(), 200u);
  EXPECT_LT(Dump(validated.faults.at(0).input).size(), 300u);
}

TEST(SchemaTest, JsonIsBoundedInDepthAndNumber) {
  EXPECT_TRUE(ParseJson(R"({"a":["[[[[\"",1]})").ok());
  EXPECT_FALSE(ParseJson(std::string(65, '[') + std::string(65, ']')).ok());
  EXPECT_TRUE(ParseJson(std::string(64, '[') + std::string(64, ']')).ok());
  std::string many = "[0";
  for (int i = 0; i < kMaxJsonValues; ++i) many += ",0";
  EXPECT_FALSE(ParseJson(many + "]").ok());
  for (const char* text : {"", "{", "\"\xff\"", "1e999", "{\"a\":}", "nan", "\"\\"}) {
    EXPECT_FALSE(ParseJson(text).ok()) << text;
  }
}

TEST(SchemaTest, OpenApiTellsTypesBoundsAndDefaults) {
  const Json json = OpenApiSchema(Txt2Img());
  EXPECT_EQ(
      json["properties"]["steps"],
      (Json{{"type", {"integer", "null"}}, {"default", 20}, {"minimum", 1}, {"maximum", 1000}}));
  EXPECT_EQ(json["properties"]["styles"]["items"]["type"], "string");
}

Json RandomJson(std::mt19937& random, int depth) {
  const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  switch (pick(depth > 3 ? 8 : 10)) {
    case 0:
      return nullptr;
    case 1:
      return pick(2) == 1;
    case 2:
      return pick(3000) - 1000;
    case 3:
      return std::numeric_limits<uint64_t>::max();
    case 4:
      return std::ldexp(pick(1000) - 500, pick(2000) - 1000);
    case 5:
      return "7.0";
    case 6:
      return std::string(static_cast<size_t>(pick(300)), '\xc3');
    case 7:
      return "1e400";
    case 8: {
      Json array = Json::array();
      for (int i = pick(5); i > 0; --i) array.push_back(RandomJson(random, depth + 1));
      return array;
    }
    default: {
      Json object = Json::object();
      for (const Field& field : Txt2Img().fields) {
        if (pick(2) == 1) object[field.name] = RandomJson(random, depth + 1);
      }
      return object;
    }
  }
}

TEST(SchemaTest, OfRandomBodiesWhatPassesIsWhatTheTableSays) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    const Json body = RandomJson(random, 0);
    const Validated validated = Validate(Txt2Img(), body);
    if (validated.values.contains("steps")) {
      ASSERT_TRUE(validated.values["steps"].is_number_integer()) << Dump(body);
      ASSERT_GE(validated.values["steps"], 1);
      ASSERT_LE(validated.values["steps"], 1000);
    }
    if (!validated.faults.empty()) continue;
    // What has passed once passes again, and a strict table takes it as well.
    Schema strict = Txt2Img();
    strict.is_lenient = false;
    const Validated again = Validate(strict, validated.values);
    ASSERT_TRUE(again.faults.empty()) << Dump(body);
    ASSERT_EQ(Dump(again.values), Dump(validated.values));
  }
}

}  // namespace
}  // namespace ingot::server
