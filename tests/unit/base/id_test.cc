#include "lib/base/id.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "tests/support/matchers.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;

constexpr char kId[] = "73cdd2fb-0d1c-4b5e-9f3a-6a2f1c9e8d70";

TEST(IdTest, NewIdsAreCanonicalAndDistinct) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    std::string id = NewId();
    EXPECT_TRUE(IsCanonicalId(id)) << id;
    EXPECT_EQ(id[14], '4') << "version 4: " << id;
    EXPECT_TRUE(ids.insert(id).second) << id;
  }
}

TEST(IdTest, ParsesEitherCaseIntoLowerCase) {
  ASSERT_OK_AND_ASSIGN(std::string id, ParseId("id", "73CDD2FB-0D1C-4b5e-9F3A-6A2F1C9E8D70"));
  EXPECT_EQ(id, kId);
  EXPECT_TRUE(IsCanonicalId(kId));
  EXPECT_FALSE(IsCanonicalId("73CDD2FB-0D1C-4b5e-9F3A-6A2F1C9E8D70"));
}

TEST(IdTest, RefusesAnythingElse) {
  const std::string good = kId;
  const std::string hostile[] = {
      "",
      "-",
      "../x",
      "../../../../../../../../etc/passwd.x",  // 36 characters
      good.substr(0, 35),
      good + "0",
      good + "/",
      " " + good,
      good + "\n",
      good + std::string(1, '\0'),
      std::string(36, '-'),
      std::string(36, '0'),
      std::string(36, '\0'),
      "{73cdd2fb-0d1c-4b5e-9f3a-6a2f1c9e8d7}",
      "73cdd2fb0d1c4b5e9f3a6a2f1c9e8d70",
      "73cdd2fb-0d1c-4b5e-9f3a-6a2f1c9e8d7g",
      "73cdd2fb_0d1c_4b5e_9f3a_6a2f1c9e8d70",
      "73cdd2fb-0d1c-4b5e-9f3a/6a2f1c9e8d70",
      "73cdd2fb-0d1c-4b5e-9f3a-6a2f1c9e\xc3\xa9"
      "70",
      std::string(1 << 20, 'a'),
      std::string(1 << 20, '\xff'),
  };
  for (const std::string& text : hostile) {
    auto id = ParseId("volume_id", text);
    EXPECT_THAT(id, HasReasonOf(Reason::kInvalidField)) << text.substr(0, 60);
    EXPECT_FALSE(IsCanonicalId(text)) << text.substr(0, 60);
    auto details = GetErrorDetails(id.status());
    ASSERT_TRUE(details.has_value());
    EXPECT_EQ(details->metadata["field"], "volume_id");
    EXPECT_LT(id.status().message().size(), 400u) << "the echo is bounded";
    EXPECT_LT(details->metadata["value"].size(), 400u) << "the echo is bounded";
  }
}

}  // namespace
}  // namespace cairn
