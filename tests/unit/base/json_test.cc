#include "lib/base/json.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "tests/support/matchers.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;

TEST(JsonTest, RefusesTextThatDoesNotParse) {
  for (const std::string& text : {std::string(), std::string("{"), std::string("{'a': 1}"),
                                  std::string("{} {}"), std::string(1, '\0')}) {
    auto json = ParseJson("thing.info", text);
    EXPECT_THAT(json, HasReasonOf(Reason::kInternal)) << text;
    EXPECT_NE(Describe(json.status()).find("thing.info"), std::string::npos);
  }
}

TEST(JsonTest, MembersOfAnotherKindCountAsAbsent) {
  ASSERT_OK_AND_ASSIGN(auto json,
                       ParseJson("x", R"({"text": "t", "number": 7, "yes": true, "null": null})"));
  EXPECT_EQ(JsonValue<std::string>(json, "text", "?"), "t");
  EXPECT_EQ(JsonValue<std::string>(json, "number", "?"), "?");
  EXPECT_EQ(JsonValue<std::string>(json, "null", "?"), "?");
  EXPECT_EQ(JsonValue<int64_t>(json, "number", -1), 7);
  EXPECT_EQ(JsonValue<int64_t>(json, "text", -1), -1);
  EXPECT_EQ(JsonValue<int64_t>(json, "absent", -1), -1);
  EXPECT_TRUE(JsonValue<bool>(json, "yes", false));
  EXPECT_FALSE(JsonValue<bool>(json, "number", false));
  EXPECT_EQ(JsonValue<int64_t>(nlohmann::json::array(), "number", -1), -1);
}

TEST(JsonTest, DumpsBytesThatAreNotUtf8) {
  nlohmann::json json = {{"name", std::string("a\xff") + "b"}};
  EXPECT_OK(ParseJson("dumped", DumpJson(json)));
}

}  // namespace
}  // namespace cairn
