#include "lib/exec/timer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <vector>

#include "tests/unit/exec/gate.h"

namespace cairn {
namespace {

using ::cairn::testing::Gate;
using ::testing::ElementsAre;

// Returns when the timer has made all calls that were due.
void AwaitDueCalls(Timer& timer) {
  Gate gate;
  timer.RunAfter(absl::ZeroDuration(), [&] { gate.Open(); });
  gate.Pass();
}

TEST(TimerTest, CallsNoSoonerThanAsked) {
  Timer timer;
  Gate gate;
  auto begin = std::chrono::steady_clock::now();
  timer.RunAfter(absl::Milliseconds(30), [&] { gate.Open(); });
  gate.Pass();
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(30));
}

TEST(TimerTest, ALaterCallThatWasSetFirstHoldsNothingUp) {
  Timer timer;
  std::atomic<int> calls{0};
  timer.RunAfter(absl::Hours(1), [&] { ++calls; });
  AwaitDueCalls(timer);
  Gate gate;
  timer.RunAfter(-absl::InfiniteDuration(), [&] { gate.Open(); });
  gate.Pass();
  EXPECT_EQ(calls, 0);
}

TEST(TimerTest, CallsOfOneInstantComeInTheOrderOfTheirMaking) {
  Timer timer;
  std::vector<int> calls;
  for (int i = 0; i < 5; ++i) {
    timer.RunAfter(absl::ZeroDuration(), [&calls, i] { calls.push_back(i); });
  }
  AwaitDueCalls(timer);
  EXPECT_THAT(calls, ElementsAre(0, 1, 2, 3, 4));
}

TEST(TimerTest, ACancelledCallIsNotMade) {
  Timer timer;
  std::atomic<int> calls{0};
  Timer::Id late = timer.RunAfter(absl::Hours(1), [&] { ++calls; });
  EXPECT_TRUE(timer.Cancel(late));
  EXPECT_FALSE(timer.Cancel(late)) << "again";
  EXPECT_FALSE(timer.Cancel(0));
  EXPECT_FALSE(timer.Cancel(12345));
  AwaitDueCalls(timer);
  EXPECT_EQ(calls, 0);
}

TEST(TimerTest, CancelIsTooLateOnceTheCallBegan) {
  Timer timer;
  auto gate = std::make_shared<Gate>();
  Timer::Id id = timer.RunAfter(absl::ZeroDuration(), [gate] { gate->Pass(); });
  gate->AwaitWaiting(1);
  EXPECT_FALSE(timer.Cancel(id)) << "and does not wait for it";
  gate->Open();
}

TEST(TimerTest, RunsPeriodicallyUntilCancelled) {
  Timer timer;
  Gate third;
  std::atomic<int> calls{0};
  Timer::Id id = timer.RunEvery(absl::Milliseconds(1), [&] {
    if (++calls == 3) third.Open();
  });
  third.Pass();
  timer.Cancel(id);
  AwaitDueCalls(timer);
  int calls_then = calls;
  for (int i = 0; i < 20; ++i) AwaitDueCalls(timer);
  EXPECT_EQ(calls, calls_then);
  EXPECT_FALSE(timer.Cancel(id));
}

TEST(TimerTest, APeriodicCallMayCancelItself) {
  Timer timer;
  Gate ready;
  Gate done;
  std::atomic<int> calls{0};
  Timer::Id id = 0;
  id = timer.RunEvery(absl::ZeroDuration(), [&] {
    ready.Pass();
    ++calls;
    EXPECT_FALSE(timer.Cancel(id));
    done.Open();
  });
  ready.Open();  // `id` is set
  done.Pass();
  for (int i = 0; i < 20; ++i) AwaitDueCalls(timer);
  EXPECT_EQ(calls, 1);
}

TEST(TimerTest, ACallMaySetAnother) {
  Timer timer;
  Gate gate;
  timer.RunAfter(absl::ZeroDuration(),
                 [&] { timer.RunAfter(absl::ZeroDuration(), [&] { gate.Open(); }); });
  gate.Pass();
}

TEST(TimerTest, TheDestructorDropsWhatIsNotDue) {
  std::atomic<int> calls{0};
  auto held = std::make_shared<int>(0);
  {
    Timer timer;
    timer.RunAfter(absl::InfiniteDuration(), [&calls, held] { ++calls; });
    timer.RunAfter(absl::Hours(1000000), [&calls, held] { ++calls; });
    timer.RunEvery(absl::InfiniteDuration(), [&calls, held] { ++calls; });
    AwaitDueCalls(timer);
  }
  EXPECT_EQ(calls, 0);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(TimerTest, TheDestructorAwaitsTheRunningCall) {
  std::atomic<bool> ended{false};
  Gate gate;
  {
    Timer timer;
    timer.RunAfter(absl::ZeroDuration(), [&] {
      gate.Pass();
      ended = true;
    });
    gate.AwaitWaiting(1);
    gate.Open();
  }
  EXPECT_TRUE(ended);
}

}  // namespace
}  // namespace cairn
