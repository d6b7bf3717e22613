// The lanes of a share: what runs, what is refused, and that each task hears of it exactly once.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "lib/share/share.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/share/fake_mounts.h"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using testing::FakeMountProgram;
using testing::FakeMountTable;
using testing::FakeSpace;
using testing::HasReasonOf;
using testing::TempDir;

// The same error, sharing nothing: abseil's library counts the references to a shared one out of
// the thread sanitizer's sight, which then reports its release on another thread.
absl::Status DeepCopy(const absl::Status& status) {
  auto details = GetErrorDetails(status);
  if (!details.has_value()) return absl::Status(status.code(), status.message());
  return Error(details->reason, std::string(status.message()), details->metadata);
}

// Runs a task on a lane and waits for what it was told.
class Outcome {
 public:
  Task MakeTask(std::function<void()> work = [] {}) {
    Task task;
    task.run = [this, work = std::move(work)](const absl::Status& admitted) {
      if (admitted.ok()) work();
      MutexLock lock(&mutex_);
      ++calls_;
      status_ = DeepCopy(admitted);
      changed_.NotifyAll();
    };
    return task;
  }
  absl::Status Wait() {
    MutexLock lock(&mutex_);
    while (calls_ == 0) changed_.Wait(&mutex_);
    return status_;
  }
  int calls() {
    MutexLock lock(&mutex_);
    return calls_;
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

// Holds threads until it is opened.
class Gate {
 public:
  void Open() {
    MutexLock lock(&mutex_);
    open_ = true;
    changed_.NotifyAll();
  }
  void Pass() {
    MutexLock lock(&mutex_);
    while (!open_) changed_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
};

class ShareLanesTest : public ::testing::Test {
 protected:
  std::unique_ptr<Share> MakeShare(const std::string& directory) {
    return std::make_unique<Share>(ShareSpec{"file://" + directory, "", 1}, MountOptions{},
                                   Share::System{&files_, &mount_, &table_});
  }
  std::unique_ptr<Share> MakeOnlineShare() {
    auto share = MakeShare(dir_.path());
    EXPECT_OK(share->Probe());
    return share;
  }
  // On a mount that one attempt makes, or does not; it has been probed.
  std::unique_ptr<Share> MakeNfsShare(ProbeOptions probe) {
    MountOptions options;
    options.mount_point_base = dir_.path();
    options.attempts = 1;
    auto share = std::make_unique<Share>(ShareSpec{"host:/export", "", 1}, options,
                                         Share::System{&files_, &mount_, &table_}, probe);
    EXPECT_OK(share->Probe());
    return share;
  }

  TempDir dir_;
  FakeSpace files_;
  FakeMountTable table_;
  FakeMountProgram mount_{&table_};
};

TEST_F(ShareLanesTest, TasksRunOnBothLanes) {
  auto share = MakeOnlineShare();
  for (Lane lane : {Lane::kFast, Lane::kBulk}) {
    Outcome outcome;
    ASSERT_OK(share->Submit(lane, outcome.MakeTask()));
    EXPECT_OK(outcome.Wait());
  }
}

TEST_F(ShareLanesTest, ShareThatIsDownRefusesAtOnceAndNeverCallsTheTask) {
  auto share = MakeShare(dir_.path());
  Outcome outcome;
  EXPECT_THAT(share->Submit(Lane::kFast, outcome.MakeTask()),
              HasReasonOf(Reason::kShareUnavailable));
  share->Shutdown(absl::InfiniteDuration());
  EXPECT_EQ(outcome.calls(), 0);
}

TEST_F(ShareLanesTest, ProbeRunsOnTheLaneOfAShareThatIsDown) {
  auto share = MakeShare(dir_.path());
  Outcome outcome;
  ASSERT_OK(share->Submit(Lane::kFast, outcome.MakeTask([&] { EXPECT_OK(share->Probe()); }),
                          /*even_if_down=*/true));
  EXPECT_OK(outcome.Wait());
  EXPECT_OK(share->CheckUsable());
}

TEST_F(ShareLanesTest, FullFastLaneDoesNotHoldUpBulkAndTheOtherWayRound) {
  auto share = MakeOnlineShare();
  for (auto [full, other] : {std::pair{Lane::kFast, Lane::kBulk}, {Lane::kBulk, Lane::kFast}}) {
    Gate gate;
    std::vector<std::unique_ptr<Outcome>> held;
    for (int i = 0; i < 8; ++i) {
      held.push_back(std::make_unique<Outcome>());
      ASSERT_OK(share->Submit(full, held.back()->MakeTask([&] { gate.Pass(); })));
    }
    Outcome outcome;
    ASSERT_OK(share->Submit(other, outcome.MakeTask()));
    EXPECT_OK(outcome.Wait());
    gate.Open();
    for (auto& task : held) EXPECT_OK(task->Wait());
  }
}

TEST_F(ShareLanesTest, LostMountIsSeenBeforeATaskRuns) {
  auto share = MakeOnlineShare();
  files_.SetDeviceShift(1);
  Outcome outcome;
  bool worked = false;
  ASSERT_OK(share->Submit(Lane::kFast, outcome.MakeTask([&] { worked = true; })));
  EXPECT_THAT(outcome.Wait(), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_FALSE(worked);
  EXPECT_EQ(share->status().state, ShareState::kUnreachable);
  // The next probe decides anew.
  ASSERT_OK(share->Probe());
  EXPECT_OK(share->CheckUsable());
}

TEST_F(ShareLanesTest, ATaskThatFindsTheMountLostRunsWhenItIsRestored) {
  auto share = MakeNfsShare({.period = absl::Hours(1)});
  table_.Clear();
  files_.SetDeviceShift(1);
  Outcome outcome;
  ASSERT_OK(
      share->Submit(Lane::kBulk, outcome.MakeTask([&] { EXPECT_EQ(mount_.calls().size(), 2); })));
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (outcome.calls() == 0 && absl::Now() < until) {
    share->Tend();  // nobody waits for the period
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_OK(outcome.Wait());
}

TEST_F(ShareLanesTest, ATaskThatFindsTheMountLostIsToldWhenItCannotBeRestored) {
  auto share = MakeNfsShare({.period = absl::Hours(1)});
  table_.Clear();
  files_.SetDeviceShift(1);
  mount_.SetBehaviour([](const ProcessSpec&) {
    return FakeMountProgram::Exit(32, "mount.nfs: Connection refused");
  });
  Outcome failed;
  ASSERT_OK(share->Submit(Lane::kFast, failed.MakeTask()));
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (failed.calls() == 0 && absl::Now() < until) {
    share->Tend();
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_THAT(failed.Wait(), HasReasonOf(Reason::kShareUnavailable));
}

TEST_F(ShareLanesTest, NobodyWaitsForAMountThatTakesLong) {
  Gate gate;
  auto share = MakeNfsShare({.period = absl::Hours(1), .timeout = absl::Milliseconds(100)});
  table_.Clear();
  files_.SetDeviceShift(1);
  mount_.SetBehaviour([&](const ProcessSpec&) {
    gate.Pass();
    return FakeMountProgram::Exit(32, "mount.nfs: Connection timed out");
  });
  Outcome outcome;
  ASSERT_OK(share->Submit(Lane::kFast, outcome.MakeTask()));
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (outcome.calls() == 0 && absl::Now() < until) {
    share->Tend();
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_THAT(outcome.Wait(), HasReasonOf(Reason::kShareUnavailable));
  gate.Open();
}

TEST_F(ShareLanesTest, ATaskThatWaitsForALostMountIsToldAtTheEnd) {
  auto share = MakeNfsShare({});
  files_.SetDeviceShift(1);
  Outcome outcome;
  ASSERT_OK(share->Submit(Lane::kFast, outcome.MakeTask()));
  while (share->CheckUsable().ok()) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_TRUE(share->Shutdown(absl::Seconds(10)));
  EXPECT_THAT(outcome.Wait(), HasReasonOf(Reason::kShuttingDown));
}

TEST_F(ShareLanesTest, DirectoryThatVanishedIsSeenBeforeATaskRuns) {
  auto share = MakeOnlineShare();
  fs::remove_all(dir_.path());
  Outcome outcome;
  ASSERT_OK(share->Submit(Lane::kBulk, outcome.MakeTask()));
  EXPECT_THAT(outcome.Wait(), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_FALSE(share->CheckUsable().ok());
}

TEST_F(ShareLanesTest, PassingErrorRefusesOneTaskOnly) {
  auto share = MakeOnlineShare();
  files_.Inject({.call = "Stat", .nth = 1, .error_number = EIO});
  Outcome refused;
  ASSERT_OK(share->Submit(Lane::kFast, refused.MakeTask()));
  EXPECT_THAT(refused.Wait(), HasReasonOf(Reason::kShareUnavailable));
  Outcome outcome;
  ASSERT_OK(share->Submit(Lane::kFast, outcome.MakeTask()));
  EXPECT_OK(outcome.Wait());
}

TEST_F(ShareLanesTest, TasksThatWaitAreToldWhenTheShareGoesDown) {
  auto share = MakeOnlineShare();
  Gate gate;
  Outcome held[2];
  Outcome waiting;
  for (Outcome& outcome : held) {
    ASSERT_OK(share->Submit(Lane::kBulk, outcome.MakeTask([&] { gate.Pass(); })));
  }
  ASSERT_OK(share->Submit(Lane::kBulk, waiting.MakeTask()));
  fs::remove_all(dir_.path());
  EXPECT_FALSE(share->Probe().ok());
  gate.Open();
  EXPECT_THAT(waiting.Wait(), HasReasonOf(Reason::kShareUnavailable));
  for (Outcome& outcome : held) static_cast<void>(outcome.Wait());
}

TEST_F(ShareLanesTest, DeadlineThatPassedInTheQueueIsToldToTheTask) {
  auto share = MakeOnlineShare();
  Outcome outcome;
  Task task = outcome.MakeTask();
  task.deadline = MonotonicTime::Now() - absl::Seconds(1);
  ASSERT_OK(share->Submit(Lane::kFast, std::move(task)));
  EXPECT_THAT(outcome.Wait(), HasReasonOf(Reason::kDeadline));
}

TEST_F(ShareLanesTest, AfterShutdownNothingIsTaken) {
  auto share = MakeOnlineShare();
  EXPECT_TRUE(share->Shutdown(absl::Seconds(10)));
  Outcome outcome;
  EXPECT_THAT(share->Submit(Lane::kFast, outcome.MakeTask()), HasReasonOf(Reason::kShuttingDown));
  EXPECT_EQ(outcome.calls(), 0);
}

TEST_F(ShareLanesTest, ShutdownGivesUpOnAStuckThreadAfterItsGrace) {
  auto share = MakeOnlineShare();
  Gate gate;
  Gate begun;
  Outcome outcome;
  ASSERT_OK(share->Submit(Lane::kFast, outcome.MakeTask([&] {
    begun.Open();
    gate.Pass();
  })));
  begun.Pass();
  EXPECT_FALSE(share->Shutdown(absl::Milliseconds(20)));
  gate.Open();
  EXPECT_OK(outcome.Wait());
}

// Accepted or refused, run or not: the callback comes exactly once for each accepted task.
TEST_F(ShareLanesTest, EachAcceptedTaskIsCalledExactlyOnce) {
  auto share = MakeOnlineShare();
  std::atomic<int> calls{0};
  int accepted = 0;
  for (int i = 0; i < 5000; ++i) {
    Task task;
    task.run = [&](const absl::Status&) { calls.fetch_add(1); };
    if (i == 2500) files_.SetDeviceShift(1);
    if (share->Submit(i % 2 == 0 ? Lane::kFast : Lane::kBulk, std::move(task)).ok()) ++accepted;
  }
  EXPECT_TRUE(share->Shutdown(absl::InfiniteDuration()));
  EXPECT_EQ(calls.load(), accepted);
  EXPECT_GT(accepted, 0);
}

}  // namespace
}  // namespace cairn
