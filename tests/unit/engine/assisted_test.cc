// Changes of volumes in use whose hypervisor the consumer commands by itself.
#include <gtest/gtest.h>

#include "tests/unit/engine/in_use_fixture.h"

namespace cairn {
namespace {

using testing::FakeMachine;
using testing::HasReasonOf;
using testing::InUseTest;
using testing::NewSnapshot;
using testing::Observe;

// The consumer's side of the machine: it obeys the instructions.
class AssistedTest : public InUseTest {
 protected:
  void OpenAssisted(VolumeFormat format = VolumeFormat::kRawSparse) {
    Make(format);
    Open(HypervisorAddress::Kind::kAssisted);
  }
  void Obey(const OperationRecord& operation) {
    ASSERT_EQ(operation.instructions.size(), 1u);
    ASSERT_OK_AND_ASSIGN(auto hypervisor, machine_.Connect());
    const DiskChange& change = operation.instructions[0].change;
    if (const auto* to = std::get_if<LayerSwitch>(&change)) {
      ASSERT_OK(hypervisor->SwitchToLayers({{{}, *to}}));
    } else if (const auto* merge = std::get_if<LayerMerge>(&change)) {
      ASSERT_OK(hypervisor->Merge({}, *merge, "", {}).status());
    } else if (const auto* resize = std::get_if<DiskResize>(&change)) {
      ASSERT_OK(hypervisor->Resize({}, *resize));
    } else if (const auto* move = std::get_if<DiskMove>(&change)) {
      const std::string target = engine_.DirectoryOf(move->target_share);
      ASSERT_OK(hypervisor->Mirror({}, *move, target, "", {}).status());
      ASSERT_OK(hypervisor->FinishMirror({}, *move, target, ""));
    }
  }
  // Does all that is asked, until the operation has ended.
  OperationPtr Assist(const std::string& operation_id) {
    for (int64_t step = 1;; ++step) {
      OperationPtr op = Until(operation_id, [&](const OperationRecord& o) {
        return Ended(o.state) ||
               (o.state == OperationState::kWaitingForConsumer && o.consumer_step == step);
      });
      if (Ended(op->state) || HasFailure()) return op;
      Obey(*op);
      EXPECT_OK(Report(operation_id, {.step = step}));
    }
  }
  static ConsumerReport Failed(int64_t step, bool begun = false) {
    ConsumerReport report;
    report.kind = ConsumerReport::Kind::kFailed;
    report.step = step;
    report.message = "could not";
    report.begun = begun;
    return report;
  }
};

TEST_F(AssistedTest, EverythingIsDoneByInstruction) {
  OpenAssisted();
  Write(0, 1);
  const std::string first = Begin(NewSnapshot(id_));
  EXPECT_OK(Assist(first)->error);
  ExpectSound();
  Write(1, 2);
  EXPECT_OK(Assist(Begin(NewSnapshot(id_)))->error);
  EXPECT_OK(Assist(Begin(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB}))->error);
  EXPECT_OK(Assist(Begin(MigrateVolumeRequest{.volume_id = id_, .share = {}}))->error);
  EXPECT_EQ(machine_.disk().directory, engine_.directory(1));
  ExpectSound();
  for (const SnapshotPtr& snapshot : engine_->records().SnapshotsOf(id_)) {
    EXPECT_OK(Assist(Begin(DeleteSnapshotRequest{.snapshot_id = snapshot->id}))->error);
    ExpectSound();
  }
  const std::string clone = Begin(testing::NewVolume({}, 0, testing::FromVolume(id_)));
  EXPECT_OK(Assist(clone)->error);
  ExpectSound();
  EXPECT_TRUE(Reads(0, 1));
  EXPECT_TRUE(Reads(1, 2));
}

TEST_F(AssistedTest, WhoWaitsIsFoundAndKeepsWaitingAfterARestart) {
  OpenAssisted();
  const std::string op = Begin(NewSnapshot(id_));
  OperationPtr waiting = UntilConsumer(op);
  ASSERT_EQ(waiting->instructions.size(), 1u);
  EXPECT_EQ(std::get<LayerSwitch>(waiting->instructions[0].change).backing_file, "volume-" + id_);
  const ListQuery query{
      .filter = "state = WAITING_FOR_CONSUMER", .order_by = {}, .page_size = 10, .page_token = {}};
  ASSERT_OK_AND_ASSIGN(auto page, engine_->records().ListOperations(query));
  ASSERT_EQ(page.items.size(), 1u);
  EXPECT_EQ(page.items[0]->id, op);
  Obey(*waiting);
  engine_.Restart();
  waiting = UntilConsumer(op);
  EXPECT_EQ(waiting->instructions.size(), 1u);
  ASSERT_OK(Report(op, {.step = 1}));
  EXPECT_OK(UntilEnd(op)->error);
  ExpectSound();
  // The same answer again is none; another one is refused.
  EXPECT_OK(Report(op, {.step = 1}));
  EXPECT_THAT(Report(op, Failed(1)), HasReasonOf(Reason::kOperationNotWaiting));
  EXPECT_THAT(Report(op, {.step = 2}), HasReasonOf(Reason::kInvalidField));
}

TEST_F(AssistedTest, AConsumerThatRefusesChangesNothing) {
  OpenAssisted();
  EXPECT_OK(Assist(Begin(NewSnapshot(id_)))->error);
  const std::string snapshot = engine_->records().SnapshotsOf(id_)[0]->id;
  const std::string before = Observe(engine_);
  for (const Request& request :
       {Request(NewSnapshot(id_)), Request(DeleteSnapshotRequest{.snapshot_id = snapshot}),
        Request(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB}),
        Request(MigrateVolumeRequest{.volume_id = id_, .share = {}}),
        Request(testing::NewVolume({}, 0, testing::FromVolume(id_)))}) {
    const std::string op = Begin(request);
    UntilConsumer(op);
    ASSERT_OK(Report(op, Failed(1)));
    EXPECT_THAT(UntilEnd(op)->error, HasReasonOf(Reason::kHypervisorFailed));
    EXPECT_EQ(Observe(engine_), before);
    EXPECT_OK(Report(op, Failed(1)));
  }
}

// A refusal that was accepted is not forgotten by a restart: nothing is begun again.
TEST_F(AssistedTest, ARefusalOutlivesARestart) {
  OpenAssisted();
  const std::string before = Observe(engine_);
  const std::string op = Begin(NewSnapshot(id_));
  UntilConsumer(op);
  ASSERT_OK(ArmFailPoints("create_snapshot.ended=sleep"));
  ASSERT_OK(Report(op, Failed(1)));
  engine_.Restart();
  ASSERT_OK(ArmFailPoints(""));
  EXPECT_EQ(UntilEnd(op)->state, OperationState::kFailed);
  EXPECT_EQ(Observe(engine_), before);
}

TEST_F(AssistedTest, ACancelNeedsTheConsumersWord) {
  OpenAssisted();
  const auto cancel = [&](const std::string& op) {
    std::promise<absl::StatusOr<OperationPtr>> cancelled;
    engine_->Cancel(op, [&](auto answer) { cancelled.set_value(std::move(answer)); });
    return cancelled.get_future().get();
  };
  const std::string before = Observe(engine_);
  std::string op = Begin(NewSnapshot(id_));
  UntilConsumer(op);
  ASSERT_OK_AND_ASSIGN(OperationPtr cancelling, cancel(op));
  EXPECT_EQ(cancelling->state, OperationState::kCancelling);
  EXPECT_FALSE(cancelling->instructions.empty());
  engine_.Restart();
  Until(op, [](const OperationRecord& o) {
    return o.state == OperationState::kCancelling && !o.instructions.empty();
  });
  ASSERT_OK(Report(op, Failed(1)));
  EXPECT_EQ(UntilEnd(op)->state, OperationState::kCancelled);
  EXPECT_EQ(Observe(engine_), before);
  // It had been carried out already.
  op = Begin(NewSnapshot(id_));
  OperationPtr waiting = UntilConsumer(op);
  Obey(*waiting);
  ASSERT_OK(cancel(op));
  ASSERT_OK(Report(op, {.step = 1}));
  EXPECT_EQ(UntilEnd(op)->state, OperationState::kSucceeded);
  ExpectSound();
}

TEST_F(AssistedTest, WhatTheFilesContradictIsNotBelieved) {
  OpenAssisted();
  EXPECT_OK(Assist(Begin(NewSnapshot(id_)))->error);
  EXPECT_OK(Assist(Begin(NewSnapshot(id_)))->error);
  const std::string oldest = engine_->records().SnapshotsOf(id_)[0]->id;
  const std::string op = Begin(DeleteSnapshotRequest{.snapshot_id = oldest});
  OperationPtr waiting = UntilConsumer(op);
  EXPECT_THAT(Report(op, {.step = 1}), HasReasonOf(Reason::kImageMismatch));
  waiting = UntilConsumer(op);
  Obey(*waiting);
  ASSERT_OK(Report(op, {.step = 1}));
  EXPECT_OK(UntilEnd(op)->error);
  ExpectSound();
  const std::string extend = Begin(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB});
  UntilConsumer(extend);
  EXPECT_THAT(Report(extend, {.step = 1}), HasReasonOf(Reason::kImageMismatch));
  EXPECT_OK(Assist(extend)->error);
}

// What it was to change is changed in part: there is no way back.
TEST_F(AssistedTest, AMergeThatHadBegunIsAskedForAgain) {
  OpenAssisted();
  EXPECT_OK(Assist(Begin(NewSnapshot(id_)))->error);
  EXPECT_OK(Assist(Begin(NewSnapshot(id_)))->error);
  const std::string oldest = engine_->records().SnapshotsOf(id_)[0]->id;
  const std::string op = Begin(DeleteSnapshotRequest{.snapshot_id = oldest});
  UntilConsumer(op);
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK(Report(op, Failed(1, /*begun=*/true)));
    Until(op, [](const OperationRecord& o) { return o.parked.ok() && !o.instructions.empty(); });
  }
  OperationPtr waiting = UntilConsumer(op);
  Obey(*waiting);
  ASSERT_OK(Report(op, {.step = 1}));
  EXPECT_OK(UntilEnd(op)->error);
  EXPECT_EQ(engine_.FindSnapshot(oldest), nullptr);
  ExpectSound();
}

// Only the consumer knows where the guest's last writes went.
TEST_F(AssistedTest, AMoveWaitsForTheConsumersWordAlsoWhenDetached) {
  OpenAssisted(VolumeFormat::kQcow2);
  Write(0, 1);
  const std::string op = Begin(MigrateVolumeRequest{.volume_id = id_, .share = {}});
  OperationPtr waiting = UntilConsumer(op);
  ASSERT_OK(ForceDetach());
  engine_.Restart();
  waiting = UntilConsumer(op);
  ASSERT_OK(Report(op, Failed(1)));
  EXPECT_EQ(UntilEnd(op)->state, OperationState::kFailed);
  EXPECT_EQ(engine_.Volume(id_)->share, engine_.address(0));
  ExpectSound();
  EXPECT_TRUE(Reads(0, 1));
}

TEST_F(AssistedTest, NobodyElseIsAsked) {
  OpenAssisted();
  ASSERT_OK_AND_ASSIGN(OperationPtr op, engine_.Submit(UpdateVolumeRequest{
                                            .volume_id = id_, .name = "x", .labels = {}}));
  EXPECT_THAT(Report(op->id, {.step = 1}), HasReasonOf(Reason::kOperationNotWaiting));
  EXPECT_THAT(Report(NewId(), {.step = 1}), HasReasonOf(Reason::kOperationNotFound));
}

}  // namespace
}  // namespace cairn
