// A server that stops answering, and comes back: verdicts, who is told, what goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/time/clock.h"
#include "lib/share/share.h"
#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"
#include "tests/unit/share/fake_mounts.h"

namespace cairn {
namespace {

using testing::FakeMountProgram;
using testing::FakeMountTable;
using testing::FakeSpace;
using testing::HasReasonOf;
using ::testing::HasSubstr;
using testing::TempDir;

constexpr absl::Duration kTimeout = absl::Milliseconds(200);

class ShareOutageTest : public ::testing::Test {
 protected:
  ShareOutageTest() {
    share_ = std::make_unique<Share>(
        ShareSpec{"file://" + dir_.path(), "", 1}, MountOptions{},
        Share::System{&files_, &mount_, &table_},
        ProbeOptions{.period = absl::Milliseconds(20), .timeout = kTimeout});
    EXPECT_OK(share_->Probe());
  }
  ~ShareOutageTest() override { files_.Resume(); }

  // What the engine's timer does, until `condition` holds.
  bool TendUntil(const std::function<bool()>& condition) {
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (absl::Now() < until) {
      share_->Tend();
      if (condition()) return true;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return false;
  }
  bool AwaitState(ShareState state) {
    return TendUntil([&] { return share_->status().state == state; });
  }

  TempDir dir_;
  FakeSpace files_;
  FakeMountTable table_;
  FakeMountProgram mount_{&table_};
  std::unique_ptr<Share> share_;
};

TEST_F(ShareOutageTest, AProbeThatDoesNotComeBackIsAVerdictInTime) {
  files_.Stall(dir_.path());
  const absl::Time begun = absl::Now();
  ASSERT_TRUE(AwaitState(ShareState::kUnreachable));
  EXPECT_GE(absl::Now() - begun, kTimeout);
  absl::Status usable = share_->CheckUsable();
  EXPECT_THAT(usable, HasReasonOf(Reason::kShareUnavailable));
  EXPECT_THAT(share_->status().last_error, HasSubstr("does not answer"));
}

TEST_F(ShareOutageTest, ItHealsWhenTheServerAnswersAgain) {
  files_.Stall(dir_.path());
  ASSERT_TRUE(AwaitState(ShareState::kUnreachable));
  files_.Resume();
  ASSERT_TRUE(AwaitState(ShareState::kOnline));
  EXPECT_EQ(share_->status().last_error, "");
}

TEST_F(ShareOutageTest, TasksThatWaitAreRefusedAndThoseThatHangAreAbandonedThenRun) {
  files_.Stall(dir_.path());
  constexpr int kTasks = kFastThreads + 24;
  std::atomic<int> refused{0};
  std::atomic<int> abandoned{0};
  std::atomic<int> worked{0};
  for (int i = 0; i < kTasks; ++i) {
    Task task;
    task.run = [&](const absl::Status& admitted) { ++(admitted.ok() ? worked : refused); };
    task.abandoned = [&](const absl::Status& why) {
      EXPECT_THAT(why, HasReasonOf(Reason::kShareUnavailable));
      ++abandoned;
    };
    ASSERT_OK(share_->Submit(Lane::kFast, std::move(task)));
  }
  ASSERT_TRUE(AwaitState(ShareState::kUnreachable));
  ASSERT_TRUE(TendUntil([&] { return refused + abandoned == kTasks; }));
  EXPECT_EQ(abandoned, kFastThreads);
  EXPECT_EQ(worked, 0);
  EXPECT_FALSE(share_->Submit(Lane::kFast, {.run = [](const absl::Status&) {}}).ok());
  files_.Resume();
  // They hang in the look at the root, before the work; after it the share's state decides.
  ASSERT_TRUE(TendUntil([&] { return refused + worked == kTasks; }));
  ASSERT_TRUE(AwaitState(ShareState::kOnline));
  EXPECT_EQ(abandoned, kFastThreads);
}

TEST_F(ShareOutageTest, MetadataWorkThatHangsBringsTheNextProbeForward) {
  auto rarely =
      std::make_unique<Share>(ShareSpec{"file://" + dir_.path() + "/.", "", 1}, MountOptions{},
                              Share::System{&files_, &mount_, &table_},
                              ProbeOptions{.period = absl::Hours(1), .timeout = kTimeout});
  share_.reset();  // it holds the lock
  ASSERT_OK(rarely->Probe());
  files_.Stall(dir_.path());
  ASSERT_OK(rarely->Submit(Lane::kFast, {.run = [](const absl::Status&) {}}));
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (rarely->CheckUsable().ok() && absl::Now() < until) {
    rarely->Tend();
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_FALSE(rarely->CheckUsable().ok());
  files_.Resume();
}

TEST_F(ShareOutageTest, ASlowAnswerMakesItDegradedAndUsable) {
  files_.Stall(dir_.path());
  std::atomic<bool> probed{false};
  share_->StartProbe([&](const absl::Status&) { probed = true; });
  absl::SleepFor(kTimeout * 0.7);
  files_.Resume();
  while (!probed) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_EQ(share_->status().state, ShareState::kDegraded);
  EXPECT_THAT(share_->status().last_error, HasSubstr("slow"));
  EXPECT_OK(share_->CheckUsable());
  ASSERT_TRUE(AwaitState(ShareState::kOnline));
}

TEST_F(ShareOutageTest, AShareWithAHangingThreadSaysThatItCouldNotEnd) {
  files_.Stall(dir_.path());
  ASSERT_TRUE(AwaitState(ShareState::kUnreachable));  // its probe hangs
  EXPECT_FALSE(share_->Shutdown(absl::Milliseconds(50)));
  files_.Resume();
  EXPECT_TRUE(TendUntil([&] { return share_->Shutdown(absl::Milliseconds(50)); }));
}

}  // namespace
}  // namespace cairn
