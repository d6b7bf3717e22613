#include "lib/os/shared_sync.h"

#include <gmock/gmock.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "tests/support/matchers.h"

namespace cairn {
namespace {

TEST(SharedSyncTest, WhoIsAloneGetsItsOwn) {
  SharedSync shared;
  int calls = 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_OK(shared.Run("d", [&] {
      ++calls;
      return absl::OkStatus();
    }));
  }
  EXPECT_EQ(calls, 3);
  EXPECT_EQ(shared.Run("d", [] { return absl::DataLossError("broken"); }),
            absl::DataLossError("broken"));
}

// What each has done before it asked is seen by a call that begins afterwards.
TEST(SharedSyncTest, NobodyGetsOneThatBeganBefore) {
  SharedSync shared;
  std::atomic<int> running{0};
  std::atomic<int> calls{0};
  std::atomic<int> clock{0};
  std::vector<std::thread> threads;
  constexpr int kThreads = 16;
  constexpr int kRounds = 200;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        const std::string key = std::to_string(t % 2);
        const int asked = ++clock;
        const absl::Status status = shared.Run(key, [&] {
          const int now = ++clock;
          if (t % 2 == 0) {
            EXPECT_EQ(++running, 1);
          }
          ++calls;
          absl::SleepFor(absl::Microseconds(50));
          if (t % 2 == 0) --running;
          // In the message, to everybody of the round.
          return absl::UnknownError(std::to_string(now));
        });
        ASSERT_GT(std::stoi(std::string(status.message())), asked);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LT(calls, kThreads * kRounds);
  EXPECT_GT(calls, 0);
}

TEST(SharedSyncTest, OneThatHangsHoldsUpOnlyItsOwn) {
  SharedSync shared;
  std::latch hangs(1);
  std::latch go_on(1);
  std::thread stuck([&] {
    EXPECT_OK(shared.Run("dead", [&] {
      hangs.count_down();
      go_on.wait();
      return absl::OkStatus();
    }));
  });
  hangs.wait();
  EXPECT_OK(shared.Run("alive", [] { return absl::OkStatus(); }));
  go_on.count_down();
  stuck.join();
}

}  // namespace
}  // namespace cairn
