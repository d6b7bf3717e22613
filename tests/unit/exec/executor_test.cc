#include "lib/exec/executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>

#include "absl/time/clock.h"
#include "tests/support/matchers.h"
#include "tests/unit/exec/gate.h"

namespace cairn {
namespace {

using ::cairn::testing::Gate;
using ::cairn::testing::HasReasonOf;
using ::testing::ElementsAre;

// What became of a set of tasks.
class Log {
 public:
  Task Entry(int number) {
    Task task;
    task.run = [this, number](const absl::Status& admitted) {
      MutexLock lock(&mutex_);
      (admitted.ok() ? done_ : refused_).push_back(number);
      if (!admitted.ok()) last_refusal_ = admitted;
    };
    return task;
  }
  std::vector<int> done() {
    MutexLock lock(&mutex_);
    return done_;
  }
  std::vector<int> refused() {
    MutexLock lock(&mutex_);
    return refused_;
  }
  absl::Status last_refusal() {
    MutexLock lock(&mutex_);
    return last_refusal_;
  }

 private:
  Mutex mutex_;
  std::vector<int> done_ ABSL_GUARDED_BY(mutex_);
  std::vector<int> refused_ ABSL_GUARDED_BY(mutex_);
  absl::Status last_refusal_ ABSL_GUARDED_BY(mutex_);
};

Task Waiting(std::shared_ptr<Gate> gate) {
  return {.run = [gate](const absl::Status&) { gate->Pass(); }};
}

TEST(ExecutorTest, OneThreadRunsTasksInOrder) {
  Log log;
  Executor executor({.name = "one", .threads = 1});
  for (int i = 0; i < 5; ++i) EXPECT_OK(executor.Submit(log.Entry(i)));
  while (log.done().size() < 5) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(log.done(), ElementsAre(0, 1, 2, 3, 4));
}

TEST(ExecutorTest, AllThreadsWorkAtOnce) {
  auto gate = std::make_shared<Gate>();
  Executor executor({.name = "four", .threads = 4});
  for (int i = 0; i < 4; ++i) EXPECT_OK(executor.Submit(Waiting(gate)));
  gate->AwaitWaiting(4);
  ExecutorStats stats = executor.stats();
  EXPECT_EQ(stats.threads_busy, 4);
  EXPECT_EQ(stats.queued, 0);
  EXPECT_EQ(stats.finished_total, 0);
  EXPECT_EQ(stats.oldest_wait, absl::ZeroDuration());
  gate->Open();
  EXPECT_TRUE(executor.Shutdown(absl::InfiniteDuration()));
  EXPECT_EQ(executor.stats().finished_total, 4);
  EXPECT_EQ(executor.stats().threads_busy, 0);
}

TEST(ExecutorTest, AFullQueueRefusesAtOnce) {
  auto gate = std::make_shared<Gate>();
  Log log;
  Executor executor({.name = "share/fast", .threads = 1, .queue_max = 2});
  EXPECT_OK(executor.Submit(Waiting(gate)));
  EXPECT_OK(executor.Submit(log.Entry(1)));
  EXPECT_OK(executor.Submit(log.Entry(2)));
  absl::Status refused = executor.Submit(log.Entry(3));
  EXPECT_THAT(refused, HasReasonOf(Reason::kQueueFull));
  EXPECT_EQ(GetErrorDetails(refused)->metadata["queue"], "share/fast");
  gate->AwaitWaiting(1);
  EXPECT_THAT(executor.Submit(log.Entry(4)), HasReasonOf(Reason::kQueueFull));
  EXPECT_EQ(executor.stats().queued, 2);
  EXPECT_EQ(executor.stats().refused_total, 2);
  EXPECT_GT(executor.stats().oldest_wait, absl::ZeroDuration());
  gate->Open();
  while (log.done().size() < 2) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_OK(executor.Submit(log.Entry(5)));
  while (log.done().size() < 3) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(log.done(), ElementsAre(1, 2, 5));
}

TEST(ExecutorTest, WhatIsCancelledIsNotDoneAndTakesNoPlaceInTheQueue) {
  Log log;
  auto gate = std::make_shared<Gate>();
  CancelSource source;
  Executor executor({.name = "e", .threads = 1, .queue_max = 2});
  EXPECT_OK(executor.Submit(Waiting(gate)));
  gate->AwaitWaiting(1);
  for (int i = 0; i < 2; ++i) {
    Task task = log.Entry(i);
    task.cancel = source.token();
    EXPECT_OK(executor.Submit(std::move(task)));
  }
  EXPECT_THAT(executor.Submit(log.Entry(2)), HasReasonOf(Reason::kQueueFull));
  source.Cancel();
  EXPECT_OK(executor.Submit(log.Entry(3)));
  EXPECT_OK(executor.Submit(log.Entry(4)));
  EXPECT_THAT(executor.Submit(log.Entry(5)), HasReasonOf(Reason::kQueueFull));
  gate->Open();
  while (log.done().size() < 2) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(log.done(), ElementsAre(3, 4));
  EXPECT_THAT(log.refused(), ElementsAre(0, 1));
  EXPECT_THAT(log.last_refusal(), HasReasonOf(Reason::kCancelled));
}

TEST(ExecutorTest, WithoutAQueueOnlyFreeThreadsTakeTasks) {
  auto gate = std::make_shared<Gate>();
  Executor executor({.name = "none", .threads = 2, .queue_max = 0});
  EXPECT_OK(executor.Submit(Waiting(gate)));
  EXPECT_OK(executor.Submit(Waiting(gate)));
  EXPECT_THAT(executor.Submit(Waiting(gate)), HasReasonOf(Reason::kQueueFull));
  gate->Open();
}

TEST(ExecutorTest, ATaskThatCannotMakeItsDeadlineIsRefusedWhenItsTurnComes) {
  auto gate = std::make_shared<Gate>();
  Log log;
  Executor executor({.name = "one", .threads = 1});
  EXPECT_OK(executor.Submit(Waiting(gate)));
  const MonotonicTime now = MonotonicTime::Now();
  Task passed = log.Entry(1);
  passed.deadline = now - absl::Seconds(1);
  Task too_long = log.Entry(2);
  too_long.deadline = now + absl::Hours(1);
  too_long.needs = absl::Hours(2);
  Task fits = log.Entry(3);
  fits.deadline = now + absl::Hours(2);
  fits.needs = absl::Hours(1);
  Task no_deadline = log.Entry(4);
  no_deadline.needs = absl::Hours(1000);
  for (Task* task : {&passed, &too_long, &fits, &no_deadline}) {
    EXPECT_OK(executor.Submit(std::move(*task)));
  }
  EXPECT_THAT(log.refused(), ElementsAre()) << "not before";
  gate->Open();
  while (log.done().size() + log.refused().size() < 4) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(log.refused(), ElementsAre(1, 2));
  EXPECT_THAT(log.done(), ElementsAre(3, 4));
  EXPECT_THAT(log.last_refusal(), HasReasonOf(Reason::kDeadline));
  EXPECT_EQ(executor.stats().refused_total, 2);
}

TEST(ExecutorTest, ShutdownRefusesTheQueueAndAwaitsWhatRuns) {
  auto gate = std::make_shared<Gate>();
  Log log;
  Executor executor({.name = "one", .threads = 1});
  EXPECT_OK(executor.Submit(Waiting(gate)));
  gate->AwaitWaiting(1);
  EXPECT_OK(executor.Submit(log.Entry(1)));
  std::thread opener([&] {
    while (log.refused().empty()) absl::SleepFor(absl::Milliseconds(1));
    gate->Open();
  });
  EXPECT_TRUE(executor.Shutdown(absl::InfiniteDuration()));
  opener.join();
  EXPECT_THAT(log.refused(), ElementsAre(1)) << "although the only thread was busy";
  EXPECT_THAT(log.last_refusal(), HasReasonOf(Reason::kShuttingDown));
  EXPECT_THAT(executor.Submit(log.Entry(2)), HasReasonOf(Reason::kShuttingDown));
  EXPECT_TRUE(executor.Shutdown(absl::InfiniteDuration())) << "again";
  EXPECT_THAT(log.refused(), ElementsAre(1)) << "what was never accepted is not called";
}

TEST(ExecutorTest, AStuckThreadIsLeftBehind) {
  auto gate = std::make_shared<Gate>();
  auto ended = std::make_shared<Gate>();
  Log log;
  {
    Executor executor({.name = "stuck", .threads = 1});
    Task stuck;
    stuck.run = [gate, ended](const absl::Status&) {
      gate->Pass();
      ended->Open();
    };
    EXPECT_OK(executor.Submit(std::move(stuck)));
    gate->AwaitWaiting(1);
    EXPECT_OK(executor.Submit(log.Entry(1)));
    EXPECT_FALSE(executor.Shutdown(absl::Milliseconds(50)));
    while (log.refused().empty()) absl::SleepFor(absl::Milliseconds(1));
    EXPECT_FALSE(executor.Shutdown(absl::Milliseconds(50))) << "it is not forgotten";
  }
  EXPECT_THAT(log.refused(), ElementsAre(1));
  // It ends after its executor.
  gate->Open();
  ended->Pass();
}

TEST(ExecutorTest, WhatATaskHoldsIsGivenUpWithIt) {
  auto held = std::make_shared<int>(0);
  Executor executor({.name = "one", .threads = 1});
  EXPECT_OK(executor.Submit({.run = [held](const absl::Status&) {}}));
  while (executor.stats().finished_total < 1) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(held.use_count(), 1);
}

TEST(ExecutorTest, ATaskMaySubmitAnother) {
  Log log;
  Executor executor({.name = "one", .threads = 1});
  EXPECT_OK(executor.Submit(
      {.run = [&](const absl::Status&) { EXPECT_OK(executor.Submit(log.Entry(1))); }}));
  while (log.done().empty()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_THAT(log.done(), ElementsAre(1));
}

TEST(ExecutorTest, AbandonTellsWhoWaitsAndWhoHangs) {
  Gate gate;
  std::atomic<int> refused{0};
  std::atomic<int> abandoned{0};
  Executor executor({.name = "dead", .threads = 2});
  for (int i = 0; i < 5; ++i) {
    Task task;
    task.run = [&](const absl::Status& admitted) {
      if (!admitted.ok()) {
        ++refused;
      } else {
        gate.Pass();
      }
    };
    if (i > 0) task.abandoned = [&](const absl::Status&) { ++abandoned; };
    ASSERT_OK(executor.Submit(std::move(task)));
  }
  gate.AwaitWaiting(2);
  EXPECT_GT(executor.stats().longest_run, absl::ZeroDuration());
  executor.Abandon(absl::UnavailableError("dead"));
  EXPECT_EQ(refused, 3);
  EXPECT_EQ(abandoned, 1);  // the first has nobody to be told
  executor.Abandon(absl::UnavailableError("still dead"));
  EXPECT_EQ(abandoned, 1);
  gate.Open();
  // It goes on.
  std::atomic<bool> ran{false};
  ASSERT_OK(executor.Submit({.run = [&](const absl::Status& admitted) { ran = admitted.ok(); }}));
  while (!ran) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(executor.stats().queued, 0);
}

TEST(ExecutorTest, OnlyTheFirstAnswerGetsThrough) {
  std::vector<int> answers;
  auto answer = OnlyOnce<int>([&](int value) { answers.push_back(value); });
  auto copy = answer;
  copy(1);
  answer(2);
  EXPECT_THAT(answers, ElementsAre(1));
}

TEST(ExecutorTest, UnderLoadEachAcceptedTaskRunsOnce) {
  constexpr int kTasks = 2000;
  std::vector<std::atomic<int>> runs(4 * kTasks);
  std::atomic<int> accepted{0};
  std::atomic<int> refused{0};
  {
    Executor executor({.name = "load", .threads = 3, .queue_max = 50});
    std::vector<std::thread> submitters;
    for (int s = 0; s < 4; ++s) {
      submitters.emplace_back([&, s] {
        for (int i = 0; i < kTasks; ++i) {
          std::atomic<int>& count = runs[s * kTasks + i];
          bool ok = executor.Submit({.run = [&count](const absl::Status&) { ++count; }}).ok();
          ++(ok ? accepted : refused);
          if (!ok) count = -1;
        }
      });
    }
    for (std::thread& submitter : submitters) submitter.join();
  }
  int ran = 0;
  for (std::atomic<int>& count : runs) {
    EXPECT_TRUE(count == 1 || count == -1) << count;
    if (count == 1) ++ran;
  }
  EXPECT_EQ(ran, accepted);
  EXPECT_EQ(accepted + refused, 4 * kTasks);
}

}  // namespace
}  // namespace cairn
