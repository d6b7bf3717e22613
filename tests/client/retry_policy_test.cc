#include "cairn/client/retry.h"

#include <gtest/gtest.h>

namespace cairn::client {
namespace {

using std::chrono::milliseconds;

RetryPolicy Policy() {
  RetryPolicy policy;
  policy.initial_backoff = milliseconds(100);
  policy.max_backoff = milliseconds(1'000);
  policy.multiplier = 2;
  return policy;
}

TEST(Backoff, GrowsToItsLimitWithinItsJitter) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    Backoff backoff(Policy(), seed);
    for (const int64_t whole : {100, 200, 400, 800, 1'000, 1'000, 1'000}) {
      const auto pause = backoff.Next();
      EXPECT_GE(pause, milliseconds(whole / 2)) << "seed " << seed;
      EXPECT_LE(pause, milliseconds(whole)) << "seed " << seed;
    }
  }
}

TEST(Backoff, DiffersBetweenClients) {
  EXPECT_NE(Backoff(Policy(), 1).Next(), Backoff(Policy(), 2).Next());
}

TEST(Backoff, BeginsAgainAfterSuccess) {
  Backoff backoff(Policy(), 7);
  for (int i = 0; i < 5; ++i) backoff.Next();
  backoff.Reset();
  EXPECT_LE(backoff.Next(), milliseconds(100));
}

TEST(Backoff, IsAtLeastWhatTheServerAsksFor) {
  Backoff backoff(Policy(), 7);
  EXPECT_EQ(backoff.Next(milliseconds(3'000)), milliseconds(3'000));
}

TEST(ShouldRetry, FollowsTheCode) {
  EXPECT_TRUE(ShouldRetry(absl::UnavailableError("")));
  EXPECT_TRUE(ShouldRetry(absl::AbortedError("")));
  EXPECT_FALSE(ShouldRetry(absl::OkStatus()));
  EXPECT_FALSE(ShouldRetry(absl::DeadlineExceededError("")));
  EXPECT_FALSE(ShouldRetry(absl::CancelledError("")));
  EXPECT_FALSE(ShouldRetry(absl::FailedPreconditionError("")));
  EXPECT_FALSE(ShouldRetry(absl::ResourceExhaustedError("")));
  EXPECT_FALSE(ShouldRetry(absl::InternalError("")));
  EXPECT_FALSE(ShouldRetry(absl::UnknownError("")));
}

}  // namespace
}  // namespace cairn::client
