#include "lib/engine/journal_request.h"

#include <gmock/gmock.h>

#include "lib/base/json.h"
#include "tests/support/matchers.h"

namespace cairn {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const Request kFilled = DeleteVolumeRequest{.volume_id = "filled-in"};

TEST(JournalRequestTest, ARestartFindsWhatItNeeds) {
  const std::string journalled = ToJournal("asked", kFilled, {{"a", true}, {"b", false}});
  auto again = FromJournal(OperationKind::kDeleteVolume, journalled);
  ASSERT_OK(again);
  EXPECT_EQ(RequestToJson(again->request), RequestToJson(kFilled));
  ASSERT_EQ(again->locks.size(), 2u);
  EXPECT_EQ(again->locks[0].key, "a");
  EXPECT_TRUE(again->locks[0].exclusive);
  EXPECT_EQ(again->locks[1].key, "b");
  EXPECT_FALSE(again->locks[1].exclusive);
  EXPECT_FALSE(FromJournal(OperationKind::kDeleteVolume, JournalAtEnd(journalled)).ok());
}

TEST(JournalRequestTest, ARetryIsKnownAtEveryTime) {
  const std::string journalled = ToJournal("asked", kFilled, {});
  const std::string ended = JournalAtEnd(journalled);
  EXPECT_THAT(ended, Not(HasSubstr("filled-in")));
  EXPECT_LT(ended.size(), 100u);
  for (const std::string& form : {journalled, ended, JournalAtEnd(ended)}) {
    EXPECT_TRUE(WasAsked(form, "asked")) << form;
    EXPECT_FALSE(WasAsked(form, "asked otherwise")) << form;
    EXPECT_FALSE(WasAsked(form, "")) << form;
  }
}

TEST(JournalRequestTest, WithoutARequestIdNothingIsLeft) {
  EXPECT_EQ(JournalAtEnd(ToJournal("", kFilled, {{"a", true}})), "");
  EXPECT_FALSE(WasAsked("", "asked"));
}

// Of version 1.0: ended operations, too, kept everything.
TEST(JournalRequestTest, TheEarlierFormIsRead) {
  const std::string earlier =
      DumpJson({{"asked", "as asked"},
                {"request", RequestToJson(kFilled)},
                {"locks", nlohmann::json::array({nlohmann::json::array({"a", true})})}});
  EXPECT_TRUE(WasAsked(earlier, "as asked"));
  EXPECT_FALSE(WasAsked(earlier, "otherwise"));
  auto again = FromJournal(OperationKind::kDeleteVolume, earlier);
  ASSERT_OK(again);
  EXPECT_EQ(RequestToJson(again->request), RequestToJson(kFilled));
  ASSERT_EQ(again->locks.size(), 1u);
  EXPECT_TRUE(WasAsked(JournalAtEnd(earlier), "as asked"));
  EXPECT_THAT(JournalAtEnd(earlier), Not(HasSubstr("as asked")));
}

}  // namespace
}  // namespace cairn
