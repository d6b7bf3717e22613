#include "lib/base/failpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/matchers.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;
using ::testing::ElementsAre;

class FailPointTest : public ::testing::Test {
 protected:
  ~FailPointTest() override {
    ArmFailPoints("").IgnoreError();
    RecordFailPoints(false);
  }
};

TEST_F(FailPointTest, UnarmedPointsPass) { EXPECT_OK(HitFailPoint("any")); }

TEST_F(FailPointTest, OnlyTheNamedPointFails) {
  ASSERT_OK(ArmFailPoints("one=error;two=error"));
  EXPECT_THAT(HitFailPoint("one"), HasReasonOf(Reason::kInternal));
  EXPECT_THAT(HitFailPoint("two"), HasReasonOf(Reason::kInternal));
  EXPECT_OK(HitFailPoint("three"));
  EXPECT_OK(HitFailPoint("on"));
}

TEST_F(FailPointTest, ACountLetsPassesThrough) {
  ASSERT_OK(ArmFailPoints("point=2*error"));
  EXPECT_OK(HitFailPoint("point"));
  EXPECT_OK(HitFailPoint("point"));
  EXPECT_FALSE(HitFailPoint("point").ok());
  EXPECT_FALSE(HitFailPoint("point").ok());
}

TEST_F(FailPointTest, ArmingReplacesWhatWasArmed) {
  ASSERT_OK(ArmFailPoints("one=error"));
  ASSERT_OK(ArmFailPoints("two=error"));
  EXPECT_OK(HitFailPoint("one"));
  ASSERT_OK(ArmFailPoints(""));
  EXPECT_OK(HitFailPoint("two"));
}

TEST_F(FailPointTest, RefusesOtherForms) {
  for (const char* text : {"point", "point=", "point=boom", "point=x*error", "point=-1*error",
                           "point=*error", "point=99999999999*error", "point=error=error"}) {
    EXPECT_THAT(ArmFailPoints(text), HasReasonOf(Reason::kInvalidField)) << text;
  }
}

TEST_F(FailPointTest, ABadSpecificationLeavesTheArmedPointsAsTheyWere) {
  ASSERT_OK(ArmFailPoints("point=error"));
  EXPECT_FALSE(ArmFailPoints("other=error;point=boom").ok());
  EXPECT_FALSE(HitFailPoint("point").ok());
  EXPECT_OK(HitFailPoint("other"));
}

TEST_F(FailPointTest, RecordsEachNameOnceInOrder) {
  EXPECT_OK(HitFailPoint("before"));
  RecordFailPoints(true);
  for (const char* name : {"b", "a", "b"}) EXPECT_OK(HitFailPoint(name));
  RecordFailPoints(false);
  EXPECT_OK(HitFailPoint("after"));
  EXPECT_THAT(RecordedFailPoints(), ElementsAre("b", "a"));
}

using FailPointDeathTest = FailPointTest;

TEST_F(FailPointDeathTest, CrashEndsTheProcessWithItsOwnCode) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        ArmFailPoints("point=crash").IgnoreError();
        HitFailPoint("point").IgnoreError();
      },
      ::testing::ExitedWithCode(kFailPointExitCode), "");
}

}  // namespace
}  // namespace cairn
