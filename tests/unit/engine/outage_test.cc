// One of two shares stops answering: what fails, what waits, what does not notice.
#include <gtest/gtest.h>

#include <future>
#include <memory>

#include "lib/base/id.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::FromVolume;
using testing::HasReasonOf;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::TestEngine;

constexpr absl::Duration kSoon = absl::Seconds(10);

class OutageTest : public ::testing::Test {
 protected:
  OutageTest() : engine_(SetupOf(files_.get())) {}
  ~OutageTest() override { files_->Resume(); }

  static TestEngine::Setup SetupOf(FileSystem* files) {
    TestEngine::Setup setup;
    setup.engine.files = files;
    setup.engine.probe_period = absl::Milliseconds(50);
    setup.engine.probe_timeout = absl::Milliseconds(300);
    return setup;
  }

  void AwaitState(size_t share, ShareState state) {
    const absl::Time until = absl::Now() + absl::Seconds(30);
    while (absl::Now() < until) {
      auto pool = engine_->GetPool("");
      if (pool.ok() && pool->shares[share].share.status.state == state) return;
      absl::SleepFor(absl::Milliseconds(5));
    }
    ADD_FAILURE() << "the share did not become " << ShareStateName(state);
  }
  void Die() {
    files_->Stall(engine_.directory(0));
    AwaitState(0, ShareState::kUnreachable);
  }
  CreateVolumeRequest CreateOnTheFirst() const {
    CreateVolumeRequest create = NewVolume(VolumeFormat::kQcow2, kMiB);
    create.share = engine_.address(0);
    return create;
  }
  std::future<absl::StatusOr<OperationPtr>> SubmitLater(Request request) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<OperationPtr>>>();
    engine_->Submit(std::move(request), {}, [promise](absl::StatusOr<OperationPtr> operation) {
      promise->set_value(std::move(operation));
    });
    return promise->get_future();
  }
  void Revive() {
    files_->Resume();
    AwaitState(0, ShareState::kOnline);
  }
  void ExpectTheOtherShareServes() {
    const absl::Time begun = absl::Now();
    ASSERT_OK_AND_ASSIGN(std::string id,
                         engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(1)));
    EXPECT_OK(engine_.Snapshot(id));
    EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = id, .cascade = true}));
    EXPECT_LT(absl::Now() - begun, kSoon);
  }

  const std::unique_ptr<FaultyFileSystem> files_ =
      std::make_unique<FaultyFileSystem>(FileSystem::Posix());
  TestEngine engine_;
};

TEST_F(OutageTest, RequestsToItAreRefusedAndLeaveNothing) {
  ASSERT_OK_AND_ASSIGN(std::string id,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  Die();
  CreateVolumeRequest create = NewVolume(VolumeFormat::kQcow2, kMiB);
  create.share = engine_.address(0);
  // Not even journalled: the call itself is refused.
  EXPECT_THAT(engine_.Submit(create), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_THAT(engine_.Submit(NewSnapshot(id)), HasReasonOf(Reason::kShareUnavailable));
  EXPECT_THAT(engine_.Submit(DeleteVolumeRequest{.volume_id = id}),
              HasReasonOf(Reason::kShareUnavailable));
  EXPECT_THAT(engine_.Submit(MigrateVolumeRequest{.volume_id = id, .share = engine_.address(1)}),
              HasReasonOf(Reason::kShareUnavailable));
  CreateVolumeRequest clone = NewVolume({}, 0, FromVolume(id));
  clone.share = engine_.address(1);
  EXPECT_THAT(engine_.Submit(clone), HasReasonOf(Reason::kShareUnavailable));
  ExpectTheOtherShareServes();
  Revive();
  EXPECT_OK(engine_.Snapshot(id));
}

TEST_F(OutageTest, WhatHadBegunWaitsAndGoesOn) {
  // Each has its plan in the journal, and hangs where it makes its file.
  files_->Stall(engine_.directory(0) + "/.volume-");
  std::vector<std::string> operations;
  for (int i = 0; i < 8; ++i) {
    ASSERT_OK_AND_ASSIGN(OperationPtr operation, engine_.Submit(CreateOnTheFirst()));
    operations.push_back(operation->id);
  }
  files_->Stall(engine_.directory(0));
  AwaitState(0, ShareState::kUnreachable);
  ExpectTheOtherShareServes();
  Revive();
  for (const std::string& operation : operations) {
    ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(operation));
    EXPECT_EQ(ended->state, OperationState::kSucceeded) << Describe(ended->error);
    EXPECT_NE(engine_.Volume(ended->volume_id), nullptr);
  }
}

TEST_F(OutageTest, WhatIsSentBeforeTheVerdictIsAnsweredAndNeitherLostNorHalfDone) {
  files_->Stall(engine_.directory(0));
  // More than the lane has threads, so that some hang while they are planned and some wait.
  std::vector<std::future<absl::StatusOr<OperationPtr>>> answers;
  for (int i = 0; i < 40; ++i) answers.push_back(SubmitLater(CreateOnTheFirst()));
  AwaitState(0, ShareState::kUnreachable);
  std::vector<std::string> accepted;
  for (auto& answer : answers) {
    ASSERT_EQ(answer.wait_for(std::chrono::seconds(10)), std::future_status::ready);
    auto operation = answer.get();
    if (operation.ok()) {
      accepted.push_back((*operation)->id);
    } else {
      EXPECT_THAT(operation.status(), HasReasonOf(Reason::kShareUnavailable));
    }
  }
  ExpectTheOtherShareServes();
  Revive();
  int64_t made = 0;
  for (const std::string& id : accepted) {
    ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(id));
    ASSERT_TRUE(Ended(ended->state));
    const bool succeeded = ended->state == OperationState::kSucceeded;
    EXPECT_EQ(engine_.Volume(ended->volume_id) != nullptr, succeeded) << Describe(ended->error);
    EXPECT_EQ(HasReason(ended->error, Reason::kShareUnavailable), !succeeded);
    made += succeeded;
  }
  // What hung unanswered goes on in its thread, and finds that nobody waits for it any more.
  ASSERT_OK(engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  EXPECT_EQ(engine_->records().TotalsOf(engine_.address(0)).volumes, made + 1);
  EXPECT_EQ(engine_->records().UnfinishedOperations().size(), 0u);
}

// Nobody waits for the verdict on a share to know what becomes of his request.
TEST_F(OutageTest, WhatHangsWhileItIsPlannedIsAcceptedSoonAndGoesOn) {
  ASSERT_OK_AND_ASSIGN(std::string id,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  files_->Stall(engine_.directory(0) + "/volume-" + id);  // the share itself answers
  auto answer = SubmitLater(NewSnapshot(id));
  ASSERT_EQ(answer.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  ASSERT_OK_AND_ASSIGN(OperationPtr accepted, answer.get());
  EXPECT_EQ(accepted->state, OperationState::kQueued);
  auto behind = SubmitLater(NewSnapshot(id));
  ASSERT_EQ(behind.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  ASSERT_OK_AND_ASSIGN(OperationPtr second, behind.get());
  files_->Resume();
  for (const OperationPtr& operation : {accepted, second}) {
    ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(operation->id));
    EXPECT_EQ(ended->state, OperationState::kSucceeded) << Describe(ended->error);
  }
  EXPECT_EQ(engine_.Volume(id)->chain.size(), 3u);
}

// The second is journalled at once, behind the first, which then cannot be journalled any more.
TEST_F(OutageTest, TheSameVolumeAskedForTwiceWhileItIsPlannedIsOneOperation) {
  CreateVolumeRequest create = CreateOnTheFirst();
  create.volume_id = NewId();
  files_->Stall(engine_.directory(0) + "/volume-" + create.volume_id);
  auto first = SubmitLater(create);
  auto second = SubmitLater(create);
  for (auto* answer : {&second, &first}) {
    ASSERT_EQ(answer->wait_for(std::chrono::seconds(10)), std::future_status::ready);
  }
  ASSERT_OK_AND_ASSIGN(OperationPtr made, second.get());
  ASSERT_OK_AND_ASSIGN(OperationPtr same, first.get());
  EXPECT_EQ(same->id, made->id);
  files_->Resume();
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(made->id));
  EXPECT_EQ(ended->state, OperationState::kSucceeded) << Describe(ended->error);
}

TEST_F(OutageTest, AReaderOfTheChainIsAnsweredAtTheVerdict) {
  ASSERT_OK_AND_ASSIGN(std::string id,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  files_->Stall(engine_.directory(0));
  auto answer = std::make_shared<std::promise<absl::Status>>();
  auto answered = answer->get_future();
  engine_->DescribeChain(id, [answer](const absl::StatusOr<std::vector<ChainFile>>& chain) {
    answer->set_value(chain.status());
  });
  ASSERT_EQ(answered.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_THAT(answered.get(), HasReasonOf(Reason::kShareUnavailable));
}

TEST_F(OutageTest, ARescanIsAnsweredAtTheVerdict) {
  files_->Stall(engine_.directory(0));
  auto answer = std::make_shared<std::promise<absl::Status>>();
  auto answered = answer->get_future();
  engine_->RescanPool("", [answer](const absl::Status& status) { answer->set_value(status); });
  ASSERT_EQ(answered.wait_for(std::chrono::seconds(10)), std::future_status::ready);
  EXPECT_OK(answered.get());  // the other share was measured
}

TEST_F(OutageTest, CopiesBetweenSharesThatHangHoldUpNeitherTheOtherShareNorItsBulkLane) {
  std::vector<std::string> ids;
  for (int i = 0; i < 4; ++i) {
    ASSERT_OK_AND_ASSIGN(std::string id,
                         engine_.Create(VolumeFormat::kRawSparse, kMiB, engine_.address(0)));
    ids.push_back(id);
  }
  files_->Stall(engine_.directory(0));
  std::vector<std::string> operations;
  for (const std::string& id : ids) {
    ASSERT_OK_AND_ASSIGN(
        OperationPtr operation,
        engine_.Submit(MigrateVolumeRequest{.volume_id = id, .share = engine_.address(1)}));
    operations.push_back(operation->id);
  }
  AwaitState(0, ShareState::kUnreachable);
  ASSERT_OK_AND_ASSIGN(std::string thick,
                       engine_.Create(VolumeFormat::kRawThick, kMiB, engine_.address(1)));
  EXPECT_OK(engine_.Do(NewVolume(VolumeFormat::kRawThick, kMiB, FromVolume(thick))));
  ExpectTheOtherShareServes();
  Revive();
  for (size_t i = 0; i < ids.size(); ++i) {
    ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(operations[i]));
    const bool moved = ended->state == OperationState::kSucceeded;
    EXPECT_EQ(engine_.Volume(ids[i])->share, engine_.address(moved ? 1 : 0));
    EXPECT_OK(engine_.Snapshot(ids[i]));
  }
}

TEST_F(OutageTest, AnEngineWithAHangingThreadSaysSoWhenItStops) {
  files_->Stall(engine_.directory(0));
  auto answer = SubmitLater(CreateOnTheFirst());
  AwaitState(0, ShareState::kUnreachable);
  answer.wait();
  EXPECT_FALSE(engine_->Stop(absl::ZeroDuration()));
  files_->Resume();
  absl::SleepFor(absl::Milliseconds(200));  // the thread ends before the engine goes
  // Takes the mutex that the thread gave back last: now it has been seen to end.
  EXPECT_THAT(engine_->GetOperation("none"), HasReasonOf(Reason::kOperationNotFound));
}

}  // namespace
}  // namespace cairn
