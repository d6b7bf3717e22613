#include "lib/base/cancel.h"

#include <gtest/gtest.h>

#include <thread>

#include "tests/support/matchers.h"

namespace cairn {
namespace {

using ::cairn::testing::HasReasonOf;

TEST(CancelTest, ADefaultTokenIsNeverCancelled) {
  CancelToken token;
  EXPECT_FALSE(token.cancelled());
  EXPECT_OK(token.Check());
}

TEST(CancelTest, AllTokensOfASourceAreCancelledWithIt) {
  CancelSource source;
  CancelToken before = source.token();
  EXPECT_OK(before.Check());
  source.Cancel();
  EXPECT_THAT(before.Check(), HasReasonOf(Reason::kCancelled));
  EXPECT_THAT(source.token().Check(), HasReasonOf(Reason::kCancelled));
}

TEST(CancelTest, ATokenOutlivesItsSource) {
  CancelToken token;
  {
    CancelSource source;
    token = source.token();
    source.Cancel();
  }
  EXPECT_TRUE(token.cancelled());
}

TEST(CancelTest, WhoWaitsIsToldOnce) {
  CancelSource source;
  int told = 0;
  source.token().OnCancel([&] { ++told; });
  EXPECT_EQ(told, 0);
  source.Cancel();
  source.Cancel();
  EXPECT_EQ(told, 1);
  // Too late to wait for it.
  source.token().OnCancel([&] { ++told; });
  EXPECT_EQ(told, 2);
  CancelToken().OnCancel([&] { ++told; });
  EXPECT_EQ(told, 2);
}

TEST(CancelTest, IsSeenByAnotherThread) {
  CancelSource source;
  std::thread worker([token = source.token()] {
    while (!token.cancelled()) std::this_thread::yield();
  });
  source.Cancel();
  worker.join();
}

}  // namespace
}  // namespace cairn
