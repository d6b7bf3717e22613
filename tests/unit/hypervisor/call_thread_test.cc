#include "lib/hypervisor/call_thread.h"

#include <errno.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <thread>
#include <vector>

#include "absl/synchronization/notification.h"
#include "lib/os/deadline.h"
#include "lib/os/spawn.h"
#include "tests/support/matchers.h"

namespace cairn::testing {
namespace {

constexpr absl::Duration kAmple = absl::Seconds(30);

TEST(CallThread, RunsOneCallAfterTheOther) {
  ASSERT_OK_AND_ASSIGN(auto thread, CallThread::Start("calls"));
  auto sum = std::make_shared<int>(0);
  std::thread::id first, second;
  EXPECT_TRUE(thread->Run([&] { first = std::this_thread::get_id(), *sum += 1; }, kAmple));
  EXPECT_TRUE(thread->Run([&] { second = std::this_thread::get_id(), *sum += 2; }, kAmple));
  EXPECT_EQ(*sum, 3);
  EXPECT_EQ(first, second);
  EXPECT_NE(first, std::this_thread::get_id());
}

TEST(CallThread, SurvivesAWriteToAPeerThatHasDied) {
  ASSERT_OK_AND_ASSIGN(auto thread, CallThread::Start("calls"));
  ASSERT_OK_AND_ASSIGN(Pipe pipe, MakePipe());
  pipe.read.Reset();
  int error = 0;
  EXPECT_TRUE(
      thread->Run([&] { error = write(pipe.write.get(), "x", 1) < 0 ? errno : 0; }, kAmple));
  EXPECT_EQ(error, EPIPE);
}

TEST(CallThread, LeavesBehindWhatDoesNotComeBack) {
  ASSERT_OK_AND_ASSIGN(auto thread, CallThread::Start("one that hangs"));
  auto release = std::make_shared<absl::Notification>();
  auto closed = std::make_shared<absl::Notification>();
  Deadline took(kAmple);
  EXPECT_FALSE(thread->Run([release] { release->WaitForNotification(); }, absl::Milliseconds(50)));
  EXPECT_GT(took.left(), kAmple - absl::Seconds(10));
  // No further call is made, but the last one is, once the hanging one has come back.
  EXPECT_FALSE(thread->Run([] { FAIL(); }, kAmple));
  thread->RunLast([closed] { closed->Notify(); });
  thread.reset();
  EXPECT_FALSE(closed->HasBeenNotified());
  release->Notify();
  EXPECT_TRUE(closed->WaitForNotificationWithTimeout(kAmple));
}

TEST(CallThread, DoesNotCollectHangingThreadsWithoutEnd) {
  auto release = std::make_shared<absl::Notification>();
  absl::Status refused;
  int begun = 0;
  for (; refused.ok() && begun < 1000; ++begun) {
    auto thread = CallThread::Start("nobody");
    refused = thread.status();
    if (refused.ok()) {
      (*thread)->Run([release] { release->WaitForNotification(); }, absl::Milliseconds(1));
    }
  }
  EXPECT_THAT(refused, HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_LT(begun, 1000);
  EXPECT_OK(CallThread::Start("somebody else"));
  // They end when their calls do, and all is as before.
  release->Notify();
  for (Deadline deadline(kAmple); !deadline.passed() && !CallThread::Start("nobody").ok();) {
  }
  EXPECT_OK(CallThread::Start("nobody"));
}

}  // namespace
}  // namespace cairn::testing
