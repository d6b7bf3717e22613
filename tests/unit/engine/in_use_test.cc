// Changes of volumes in use when things go wrong: refused, unanswered, dead machines.
#include <gtest/gtest.h>

#include "tests/unit/engine/in_use_fixture.h"
#include "tests/unit/engine/sessions_of_tests.h"

namespace cairn {
namespace {

using Fault = testing::FakeMachine::Fault;
using testing::Detach;
using testing::HasReasonOf;
using testing::InUseTest;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::Observe;

auto Once(const std::string& at, Fault fault) {
  return [at, fault, left = 1](const std::string& change) mutable {
    return change == at && left-- > 0 ? fault : Fault::kNone;
  };
}

ExportRequest Whole(const std::string& volume_id) {
  ExportRequest request;
  request.volume_id = volume_id;
  return request;
}

DeleteSnapshotRequest Delete(const std::string& snapshot_id) {
  return DeleteSnapshotRequest{.snapshot_id = snapshot_id};
}

TEST_F(InUseTest, SnapshotsComeAndGoWhileTheMachineWrites) {
  for (VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    Make(format);
    Open();
    Write(0, 1);
    ASSERT_OK_AND_ASSIGN(const std::string first, engine_.Snapshot(id_));
    Write(0, 2);
    ASSERT_OK_AND_ASSIGN(const std::string second, engine_.Snapshot(id_));
    Write(1, 3);
    ASSERT_OK_AND_ASSIGN(const std::string third, engine_.Snapshot(id_));
    EXPECT_TRUE(engine_.FindSnapshot(third)->created_in_use);
    ExpectSound();
    for (const std::string& snapshot : {second, third, first}) {
      ASSERT_OK(engine_.Do(Delete(snapshot)));
      ExpectSound();
      EXPECT_EQ(machine_.disk().files[0], engine_.Volume(id_)->active_file);
    }
    // At most one layer that no snapshot needs.
    EXPECT_LE(engine_.Volume(id_)->chain.size(), 2u);
    machine_.SetUp(false);
    ASSERT_OK(ForceDetach());
    EXPECT_TRUE(Reads(0, 2));
    EXPECT_TRUE(Reads(1, 3));
    // Not in use, the next deletion takes it away.
    ASSERT_OK_AND_ASSIGN(const std::string last, engine_.Snapshot(id_));
    ASSERT_OK(engine_.Do(Delete(last)));
    ExpectSound();
    EXPECT_EQ(engine_.Volume(id_)->chain.size(), 1u);
    EXPECT_TRUE(Reads(0, 2));
    EXPECT_TRUE(Reads(1, 3));
  }
}

TEST_F(InUseTest, WhatTheMachineRefusesChangesNothing) {
  Make();
  Open();
  ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_.Snapshot(id_));
  const std::string before = Observe(engine_);
  machine_.fault = [](const std::string&) { return Fault::kRefuse; };
  EXPECT_THAT(engine_.Do(NewSnapshot(id_)), HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_EQ(Observe(engine_), before);
  EXPECT_THAT(engine_.Do(NewVolume({}, 0, testing::FromVolume(id_))),
              HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_EQ(Observe(engine_), before);
  EXPECT_THAT(engine_.Do(Delete(snapshot)), HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_EQ(Observe(engine_), before);
  EXPECT_THAT(engine_.Do(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB}),
              HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_EQ(Observe(engine_), before);
  EXPECT_THAT(engine_.Do(MigrateVolumeRequest{.volume_id = id_, .share = {}}),
              HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_EQ(Observe(engine_), before);
}

TEST_F(InUseTest, AMachineThatDoesNotAnswerIsFoundOutBeforeAnythingIsChanged) {
  Make();
  Open();
  machine_.SetUp(false);
  const std::string before = Observe(engine_);
  for (const Request& request :
       {Request(NewSnapshot(id_)), Request(NewVolume({}, 0, testing::FromVolume(id_))),
        Request(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB}),
        Request(MigrateVolumeRequest{.volume_id = id_, .share = {}})}) {
    EXPECT_THAT(engine_.Do(request), HasReasonOf(Reason::kHypervisorUnavailable));
    EXPECT_EQ(Observe(engine_), before);
  }
}

TEST_F(InUseTest, AMachineWithOtherFilesOpenIsLeftAlone) {
  Make();
  Open();
  machine_.Boot(engine_.directory(0), {"volume-" + NewId()}, kMiB);
  const std::string before = Observe(engine_);
  EXPECT_THAT(engine_.Do(NewSnapshot(id_)), HasReasonOf(Reason::kHypervisorMismatch));
  EXPECT_EQ(Observe(engine_), before);
  EXPECT_TRUE(machine_.told().empty());
}

// The machine has switched, but its answer is lost: nobody knows until it answers again.
TEST_F(InUseTest, AnAnswerThatIsLostIsAskedForAgain) {
  Make();
  Open();
  machine_.fault = Once("switch", Fault::kLoseAnswer);
  const std::string op = Begin(NewSnapshot(id_));
  UntilItWaits(op);
  EXPECT_TRUE(Map().active.empty());  // the map follows the machine
  machine_.SetUp(true);
  EXPECT_OK(UntilEnd(op)->error);
  EXPECT_EQ(machine_.told().size(), 1u);
  ExpectSound();
}

TEST_F(InUseTest, TheSameAfterARestart) {
  Make();
  Open();
  machine_.fault = Once("switch", Fault::kLoseAnswer);
  const std::string op = Begin(NewSnapshot(id_));
  UntilItWaits(op);
  engine_.Restart();
  UntilItWaits(op);
  // Written by the guest since: it must still be there.
  Write(3, 7);
  machine_.SetUp(true);
  EXPECT_OK(UntilEnd(op)->error);
  EXPECT_EQ(machine_.told().size(), 1u);
  ExpectSound();
  EXPECT_TRUE(Reads(3, 7));
}

TEST_F(InUseTest, WhenTheMachineIsGoneDetachingLetsTheOperationEnd) {
  Make();
  Open();
  Write(0, 1);
  machine_.fault = Once("switch", Fault::kLoseAnswer);
  const std::string op = Begin(NewSnapshot(id_));
  UntilItWaits(op);
  Write(1, 2);
  // It may still run: to detach is to say that it does not.
  EXPECT_THAT(engine_.Do(Detach(id_)), HasReasonOf(Reason::kHypervisorUnavailable));
  ASSERT_OK(ForceDetach());
  EXPECT_OK(UntilEnd(op)->error);
  ExpectSound();
  EXPECT_TRUE(Reads(0, 1));
  EXPECT_TRUE(Reads(1, 2));
  EXPECT_EQ(engine_.Volume(id_)->state, VolumeState::kAvailable);
}

TEST_F(InUseTest, AMergeThatTheDeadMachineDidNotEndIsEndedOnTheFiles) {
  Make();
  Open();
  ASSERT_OK_AND_ASSIGN(const std::string first, engine_.Snapshot(id_));
  Write(0, 1);
  ASSERT_OK_AND_ASSIGN(const std::string second, engine_.Snapshot(id_));
  Write(1, 2);
  machine_.fault = [](const std::string& change) {
    return change == "merge" ? Fault::kGoOn : Fault::kNone;
  };
  const std::string op = Begin(Delete(first));
  Until(op, [&](const OperationRecord&) { return machine_.HasBeenTold("merge"); });
  EXPECT_EQ(engine_.FindSnapshot(first)->state, SnapshotState::kDeleting);
  machine_.SetUp(false);
  UntilItWaits(op);
  ASSERT_OK(ForceDetach());
  EXPECT_OK(UntilEnd(op)->error);
  ExpectSound();
  EXPECT_EQ(engine_.Volume(id_)->chain.size(), 2u);
  EXPECT_TRUE(Reads(0, 1));
  EXPECT_TRUE(Reads(1, 2));
}

// QEMU names the new backing file before all that it has moved is on the files, and dies.
TEST_F(InUseTest, HeadersOfADeadMachineAreNotBelieved) {
  Make(VolumeFormat::kQcow2);
  Open();
  Write(0, 9);
  ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_.Snapshot(id_));
  for (int piece = 1; piece < 13; ++piece) Write(piece, 5);  // so that the base is merged upward
  machine_.fault = [](const std::string& change) {
    return change == "merge" ? Fault::kGoOn : Fault::kNone;
  };
  const std::string op = Begin(Delete(snapshot));
  Until(op, [&](const OperationRecord&) { return machine_.HasBeenTold("merge"); });
  machine_.SetUp(false);
  UntilItWaits(op);
  testing::RunTool({"qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "", engine_.ActivePath(id_)});
  ASSERT_OK(ForceDetach());
  EXPECT_THAT(UntilEnd(op)->error, HasReasonOf(Reason::kInterrupted));
  EXPECT_EQ(engine_.FindSnapshot(snapshot)->state, SnapshotState::kAvailable);
  ExpectSound();
  EXPECT_TRUE(Reads(0, 9));
  EXPECT_TRUE(Reads(12, 5));
}

TEST_F(InUseTest, AMergeDownwardThatFailsIsBegunAgain) {
  Make();
  Open();
  ASSERT_OK_AND_ASSIGN(const std::string first, engine_.Snapshot(id_));
  Write(0, 1);
  ASSERT_OK_AND_ASSIGN(const std::string second, engine_.Snapshot(id_));
  machine_.fault = Once("merge", Fault::kRefuse);
  ASSERT_OK(engine_.Do(Delete(first)));
  ExpectSound();
  // A merge upward that is refused leaves everything as it was.
  machine_.fault = Once("merge", Fault::kRefuse);
  Write(2, 4);
  EXPECT_THAT(engine_.Do(Delete(second)), HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_EQ(engine_.FindSnapshot(second)->state, SnapshotState::kAvailable);
  EXPECT_EQ(machine_.disk().files[0], engine_.Volume(id_)->active_file);
  EXPECT_EQ(Map().active, engine_.Volume(id_)->active_file);
  ASSERT_OK(engine_.Do(Delete(second)));
  ExpectSound();
  EXPECT_TRUE(Reads(2, 4));
}

// A merge upward changes nothing until its end, so it can be given up.
TEST_F(InUseTest, AMergeUpwardIsCancelled) {
  Make();
  Open();
  ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_.Snapshot(id_));
  for (int piece = 0; piece < 12; ++piece) Write(piece, 5);
  const std::string before = Observe(engine_);
  machine_.fault = [](const std::string& change) {
    return change == "merge" ? Fault::kGoOn : Fault::kNone;
  };
  const std::string op = Begin(Delete(snapshot));
  Until(op,
        [&](const OperationRecord& o) { return machine_.HasBeenTold("merge") && o.cancellable; });
  std::promise<absl::StatusOr<OperationPtr>> cancelled;
  engine_->Cancel(op, [&](auto answer) { cancelled.set_value(std::move(answer)); });
  EXPECT_OK(cancelled.get_future().get());
  EXPECT_EQ(UntilEnd(op)->state, OperationState::kCancelled);
  EXPECT_TRUE(machine_.HasBeenTold("cancel"));
  EXPECT_EQ(Observe(engine_), before);
  machine_.fault = {};
  ASSERT_OK(engine_.Do(Delete(snapshot)));
  ExpectSound();
  EXPECT_EQ(engine_.Volume(id_)->chain.size(), 1u);  // Cinder's way: the base is gone
  EXPECT_EQ(engine_.Volume(id_)->base_format, FileFormat::kQcow2);
  EXPECT_TRUE(Reads(11, 5));
  // It goes on as any other.
  ASSERT_OK(engine_.Do(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB}));
  ASSERT_OK_AND_ASSIGN(const std::string next, engine_.Snapshot(id_));
  ASSERT_OK(engine_.Do(Delete(next)));
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  ASSERT_OK(engine_.Do(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 3 * kMiB}));
  ASSERT_OK(engine_.Do(MigrateVolumeRequest{.volume_id = id_, .share = {}}));
  ExpectSound();
  EXPECT_TRUE(Reads(11, 5));
}

// It would go with them when it is merged upward, which is less work here.
TEST_F(InUseTest, AFileWithInternalSnapshotsStays) {
  Make(VolumeFormat::kQcow2);
  const std::string base = engine_.ActivePath(id_);
  testing::RunTool({"qemu-img", "snapshot", "-c", "inner", base});
  Open();
  ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_.Snapshot(id_));
  for (int64_t piece = 0; piece < kMiB / testing::kPiece; ++piece) Write(piece, 3);
  EXPECT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshot}));
  EXPECT_EQ(testing::QemuInfo(base, FileFormat::kQcow2)["snapshots"].size(), 1u);
  EXPECT_TRUE(Reads(1, 3));
  ExpectSound();
}

TEST_F(InUseTest, AVolumeInUseIsExtendedClonedAndMoved) {
  for (VolumeFormat format : {VolumeFormat::kQcow2, VolumeFormat::kRawThick}) {
    Make(format);
    Open();
    Write(0, 1);
    ASSERT_OK(engine_.Do(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB}));
    EXPECT_EQ(machine_.disk().size_bytes, 2 * kMiB);
    ExpectSound();
    std::string copies[2];
    for (std::string& copy : copies) {
      ASSERT_OK_AND_ASSIGN(OperationPtr op, engine_.Submit(NewVolume(VolumeFormat::kRawSparse, 0,
                                                                     testing::FromVolume(id_))));
      ASSERT_OK(UntilEnd(op->id)->error);
      copy = op->volume_id;
      ExpectSound();
      EXPECT_EQ(engine_.Volume(id_)->chain.size(), 2u);
      Write(0, 2);
    }
    EXPECT_TRUE(
        testing::QemuReads(engine_.ActivePath(copies[0]), FileFormat::kRaw, 0, testing::kPiece, 1));
    EXPECT_TRUE(
        testing::QemuReads(engine_.ActivePath(copies[1]), FileFormat::kRaw, 0, testing::kPiece, 2));
    ASSERT_OK(engine_.Do(MigrateVolumeRequest{.volume_id = id_, .share = {}}));
    EXPECT_EQ(engine_.Volume(id_)->share, engine_.address(1));
    ExpectSound();
    machine_.SetUp(false);
    ASSERT_OK(ForceDetach());
    EXPECT_TRUE(Reads(0, 2));
    ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = id_}));
  }
}

TEST_F(InUseTest, AMoveWhoseLastAnswerIsLostEndsWhereTheGuestWrites) {
  Make(VolumeFormat::kQcow2);
  Open();
  Write(0, 1);
  machine_.fault = Once("finish", Fault::kLoseAnswer);
  const std::string op = Begin(MigrateVolumeRequest{.volume_id = id_, .share = {}});
  UntilItWaits(op);
  EXPECT_EQ(engine_.Volume(id_)->share, engine_.address(0));
  Write(1, 2);  // into the new file
  engine_.Restart();
  UntilItWaits(op);
  ASSERT_OK(ForceDetach());
  EXPECT_OK(UntilEnd(op)->error);
  EXPECT_EQ(engine_.Volume(id_)->share, engine_.address(1));
  ExpectSound();
  EXPECT_TRUE(Reads(0, 1));
  EXPECT_TRUE(Reads(1, 2));
}

TEST_F(InUseTest, ACloneIsGivenUpAfterTheSourceWasFrozen) {
  Make(VolumeFormat::kQcow2);
  Open();
  Write(0, 1);
  ASSERT_OK(ArmFailPoints("create_volume.settled=error"));
  EXPECT_THAT(engine_.Do(NewVolume({}, 0, testing::FromVolume(id_))),
              HasReasonOf(Reason::kInternal));
  ASSERT_OK(ArmFailPoints(""));
  ExpectSound();
  EXPECT_EQ(engine_.Volume(id_)->chain.size(), 2u);
  EXPECT_EQ(machine_.disk().files[0], engine_.Volume(id_)->active_file);
}

TEST_F(InUseTest, AnExportReadsATemporarySnapshot) {
  Make(VolumeFormat::kQcow2);
  Open();
  Write(0, 1);
  ASSERT_OK_AND_ASSIGN(auto session, testing::StartExport(engine_, Whole(id_)));
  const auto snapshots = engine_->records().SnapshotsOf(id_);
  ASSERT_EQ(snapshots.size(), 1u);
  EXPECT_TRUE(snapshots[0]->temporary);
  Write(0, 2);
  ASSERT_OK_AND_ASSIGN(ExportSession::Piece piece, testing::NextPiece(*session));
  EXPECT_EQ(piece.chunk.data.substr(0, testing::kPiece), std::string(testing::kPiece, 1));
  session.reset();
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (!engine_->records().SnapshotsOf(id_).empty() && absl::Now() < until) {
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_TRUE(engine_->records().SnapshotsOf(id_).empty());
}

TEST_F(InUseTest, ATemporarySnapshotIsRemovedAfterARestart) {
  Make(VolumeFormat::kQcow2);
  Open();
  CreateSnapshotRequest request = NewSnapshot(id_);
  request.temporary = true;
  ASSERT_OK(engine_.Do(request));
  engine_.Restart();
  const absl::Time until = absl::Now() + absl::Seconds(30);
  while (!engine_->records().SnapshotsOf(id_).empty() && absl::Now() < until) {
    absl::SleepFor(absl::Milliseconds(2));
  }
  EXPECT_TRUE(engine_->records().SnapshotsOf(id_).empty());
}

TEST_F(InUseTest, AGroupInUseBelongsToOneMachine) {
  Make();
  const std::string first = id_;
  Open();
  Make();
  AttachVolumeRequest request = testing::Attach(id_, "another vm");
  request.hypervisor = {HypervisorAddress::Kind::kQmp, "unix:/other", "", "disk"};
  ASSERT_OK(engine_.Do(request));
  CreateSnapshotRequest group = NewSnapshot(first);
  group.more = {{id_, ""}};
  EXPECT_THAT(engine_.Do(group), HasReasonOf(Reason::kVolumeInUse));
  group.more = {{first, ""}};
  EXPECT_THAT(engine_.Do(group), HasReasonOf(Reason::kInvalidField));
}

TEST_F(InUseTest, AGroupThatIsNotInUseIsTakenAsOne) {
  Make();
  const std::string first = id_;
  Make(VolumeFormat::kQcow2);
  CreateSnapshotRequest group = NewSnapshot(first);
  group.name = "both";
  group.more = {{id_, ""}};
  ASSERT_OK(engine_.Do(group));
  auto of_first = engine_->records().SnapshotsOf(first);
  auto of_second = engine_->records().SnapshotsOf(id_);
  ASSERT_EQ(of_first.size(), 1u);
  ASSERT_EQ(of_second.size(), 1u);
  EXPECT_EQ(of_first[0]->group_id, of_second[0]->group_id);
  EXPECT_NE(of_first[0]->group_id, "");
  EXPECT_EQ(of_first[0]->create_time, of_second[0]->create_time);
  ExpectSound();
  // All or none.
  testing::WriteFile(engine_.directory(0) + "/volume-" + first + "." + of_first[0]->id + "x", "");
  const std::string before = Observe(engine_);
  ASSERT_OK(ArmFailPoints("create_snapshot.step3=error"));
  EXPECT_THAT(engine_.Do(group), HasReasonOf(Reason::kInternal));
  ASSERT_OK(ArmFailPoints(""));
  EXPECT_EQ(Observe(engine_), before);
}

TEST_F(InUseTest, ADiskThatIsOpenIsNotDetachedWithoutForce) {
  Make();
  Open();
  EXPECT_THAT(engine_.Do(Detach(id_)), HasReasonOf(Reason::kVolumeInUse));
  machine_.Boot(engine_.directory(0), {"volume-" + NewId()}, kMiB);  // it has another disk there
  EXPECT_OK(engine_.Do(Detach(id_)));
  EXPECT_EQ(engine_.Volume(id_)->state, VolumeState::kAvailable);
}

}  // namespace
}  // namespace cairn
