// What counts as a call in hand: one that is not answered yet.
#include "server/call.h"

#include <gmock/gmock.h>

#include <atomic>

#include "lib/base/status.h"
#include "server/background.h"
#include "tests/service/fake_server.h"
#include "tests/service/wire_error.h"

namespace cairn::testing {
namespace {

class AnsweredCall : public Call {
 public:
  AnsweredCall()
      : Call({"VolumeService.GetVolume", CallKind::kRead}, "peer",
             MonotonicTime::InfiniteFuture()) {}
  bool Answer() { return Claim(absl::OkStatus()); }
  void SendError(const absl::Status&) override {}
};

TEST(CallTableTest, ACallCountsUntilItIsAnsweredHoweverLongItIsHeld) {
  CallTable table({.calls_max = 1});
  auto first = std::make_shared<AnsweredCall>();
  auto second = std::make_shared<AnsweredCall>();
  ASSERT_OK(table.Add(first));
  EXPECT_EQ(table.size(), 1);
  EXPECT_FALSE(table.Add(second).ok());

  EXPECT_TRUE(first->Answer());
  EXPECT_EQ(table.size(), 0);
  ASSERT_OK(table.Add(second));
  // A late second answer of the first must not take the other one out.
  EXPECT_FALSE(first->Abort(absl::CancelledError()));
  EXPECT_EQ(table.size(), 1);

  table.Abort(absl::UnavailableError("stopping"), {CallKind::kRead});
  EXPECT_EQ(table.size(), 0);
}

TEST(CallTableTest, WhoComesAfterTheStopIsToldOfIt) {
  CallTable table({.calls_max = 2});
  const absl::Status stopping = Error(Reason::kShuttingDown, "the server is stopping");
  auto present = std::make_shared<AnsweredCall>();
  table.Abort(stopping, {CallKind::kWatch});
  ASSERT_OK(table.Add(present));
  table.Abort(stopping, {CallKind::kRead});
  EXPECT_THAT(table.Add(std::make_shared<AnsweredCall>()), HasReasonOf(Reason::kShuttingDown));
  EXPECT_EQ(table.size(), 0);
}

TEST(CallTableTest, ARefusedCallThatEndsTakesNobodyElsesPlace) {
  CallTable table({.calls_max = 1});
  auto first = std::make_shared<AnsweredCall>();
  auto refused = std::make_shared<AnsweredCall>();
  ASSERT_OK(table.Add(first));
  ASSERT_FALSE(table.Add(refused).ok());
  EXPECT_TRUE(refused->Answer());
  EXPECT_EQ(table.size(), 1);
}

using OneCallTest = FakeServerTest;

// gRPC tells that an answer is out on another thread, and maybe after the client's next call.
TEST_F(OneCallTest, WhoHasItsAnswerMayCallAgainAtOnce) {
  config_.max_active_calls = 1;
  std::atomic<int> submitted{0};
  Background helper;
  engine_->submit = [&](Request, Caller, OperationCallback done) {
    // In the reaction, and from another thread.
    if (++submitted % 2 == 0) return done(RunningOperation());
    helper.Post([done = std::move(done)] { done(RunningOperation()); });
  };
  Start();
  for (int i = 0; i < 500; ++i) {
    v1::GetVolumeRequest request;
    request.set_volume_id(NewId());
    v1::GetVolumeResponse response;
    ASSERT_THAT(CALL(volumes_, GetVolume, request, &response), FailsWith("VOLUME_NOT_FOUND"));
    ASSERT_TRUE(Extend(absl::Seconds(30), absl::ZeroDuration()).ok());
  }
  EXPECT_EQ(submitted, 500);
}

}  // namespace
}  // namespace cairn::testing
