// Operations that are past their point of no return, or half undone, and cannot go on: they wait, are
// tried again, and end as they should or are abandoned.
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <future>

#include "lib/base/failpoint.h"
#include "lib/base/id.h"
#include "lib/image/image_lock.h"
#include "lib/os/faulty_file_system.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/observed.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::Attach;
using testing::HasReasonOf;
using ::testing::HasSubstr;
using testing::kPiece;
using testing::NewSnapshot;
using testing::Observe;
using testing::ObserveDirectory;
using testing::QemuReads;
using testing::QemuWrite;
using testing::TestEngine;

class ParkedTest : public ::testing::Test {
 protected:
  ParkedTest() : engine_(SetupOf(files_.get())) {}
  ~ParkedTest() override {
    EXPECT_OK(ArmFailPoints(""));
    engine_.Stop();
  }

  static TestEngine::Setup SetupOf(FileSystem* files) {
    TestEngine::Setup setup;
    setup.engine.files = files;
    setup.engine.probe_period = absl::Hours(1);
    return setup;
  }

  // A qcow2 volume with three snapshots; the contents are 1, 2, 3 and, now, 4.
  void SetUp() override {
    ASSERT_OK_AND_ASSIGN(volume_, engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
    for (uint8_t pattern = 1; pattern <= 3; ++pattern) {
      QemuWrite(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kPiece, pattern);
      ASSERT_OK_AND_ASSIGN(snapshots_.emplace_back(), engine_.Snapshot(volume_));
    }
    QemuWrite(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kPiece, 4);
  }

  bool Holds(uint8_t pattern) {
    return QemuReads(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kPiece, pattern);
  }
  bool SnapshotHolds(const std::string& id, uint8_t pattern) {
    SnapshotPtr snapshot = engine_.FindSnapshot(id);
    return snapshot != nullptr && QemuReads(engine_.directory() + "/" + snapshot->file,
                                            FileFormat::kQcow2, 0, kPiece, pattern);
  }
  std::string Begin(Request request) {
    auto operation = engine_.Submit(std::move(request));
    EXPECT_OK(operation);
    return operation.ok() ? (*operation)->id : "";
  }
  OperationPtr Until(const std::string& id, const std::function<bool(const OperationRecord&)>& is) {
    const absl::Time until = absl::Now() + absl::Minutes(1);
    while (absl::Now() < until) {
      auto operation = engine_->GetOperation(id);
      if (operation.ok() && is(**operation)) return *operation;
      absl::SleepFor(absl::Milliseconds(1));
    }
    ADD_FAILURE() << "operation " << id << " does not get there";
    return std::make_shared<const OperationRecord>();
  }
  OperationPtr UntilParked(const std::string& id) {
    return Until(id, [](const OperationRecord& o) { return !o.parked.ok(); });
  }
  // Between two tries: during each it shows what it tries.
  OperationPtr UntilItSays(const std::string& id, const std::string& step) {
    return Until(id, [&](const OperationRecord& o) {
      return !o.parked.ok() && o.step.find(step) != o.step.npos;
    });
  }
  absl::StatusOr<OperationPtr> Abandon(const std::string& id, const std::string& reason = "why") {
    std::promise<absl::StatusOr<OperationPtr>> ended;
    engine_->Abandon(id, reason, [&](auto answer) { ended.set_value(std::move(answer)); });
    return ended.get_future().get();
  }

  const std::unique_ptr<FaultyFileSystem> files_ =
      std::make_unique<FaultyFileSystem>(FileSystem::Posix());
  TestEngine engine_;
  std::string volume_;
  std::vector<std::string> snapshots_;
};

TEST_F(ParkedTest, WhatIsPastItsPointOfNoReturnWaitsSaysWhyAndGoesOn) {
  files_->Inject({.call = "Rename", .error_number = EIO, .from_then_on = true});
  const std::string id = Begin(DeleteSnapshotRequest{.snapshot_id = snapshots_[0]});
  OperationPtr parked = UntilItSays(id, "waiting to go on");
  EXPECT_EQ(parked->state, OperationState::kRunning);
  EXPECT_FALSE(parked->cancellable);
  EXPECT_THAT(parked->parked, HasReasonOf(Reason::kIoError));
  EXPECT_EQ(engine_.FindSnapshot(snapshots_[0])->state, SnapshotState::kDeleting);
  files_->Clear();
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(id));
  EXPECT_EQ(ended->state, OperationState::kSucceeded) << Describe(ended->error);
  EXPECT_OK(ended->parked);
  EXPECT_TRUE(Holds(4));
}

// The plan of a deletion that is repeated has no merge: where the next snapshot lies is told by the chain.
TEST_F(ParkedTest, TheNextSnapshotIsFoundAfterADeletionThatWasAbandonedAndRepeated) {
  files_->Inject({.call = "Rename", .error_number = ENOSPC, .from_then_on = true});
  const std::string id = Begin(DeleteSnapshotRequest{.snapshot_id = snapshots_[0]});
  UntilParked(id);
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, Abandon(id, "no room"));
  EXPECT_EQ(ended->state, OperationState::kAbandoned);
  EXPECT_THAT(ended->error, HasReasonOf(Reason::kAbandoned));
  EXPECT_THAT(std::string(ended->error.message()), HasSubstr("no room"));
  EXPECT_THAT(std::string(ended->error.message()), HasSubstr("left to do: writing the map"));
  EXPECT_EQ(engine_.FindSnapshot(snapshots_[0])->state, SnapshotState::kError);
  files_->Clear();
  engine_.Restart();
  ASSERT_OK_AND_ASSIGN(ended, engine_->GetOperation(id));
  EXPECT_EQ(ended->state, OperationState::kAbandoned);
  ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshots_[0]}));
  EXPECT_TRUE(SnapshotHolds(snapshots_[1], 2));
  EXPECT_TRUE(SnapshotHolds(snapshots_[2], 3));
  EXPECT_TRUE(Holds(4));
  ASSERT_OK(
      engine_.Do(RevertToSnapshotRequest{.snapshot_id = snapshots_[1], .discard_newer = true}));
  EXPECT_TRUE(Holds(2));
}

TEST_F(ParkedTest, AStartTriesAgain) {
  ASSERT_OK(ArmFailPoints("revert_to_snapshot.step3=error"));
  const std::string id =
      Begin(RevertToSnapshotRequest{.snapshot_id = snapshots_[0], .discard_newer = true});
  UntilParked(id);
  engine_.Restart();
  UntilParked(id);
  ASSERT_OK(ArmFailPoints(""));
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(id));
  EXPECT_EQ(ended->state, OperationState::kSucceeded) << Describe(ended->error);
  EXPECT_TRUE(Holds(1));
  EXPECT_EQ(engine_->records().SnapshotsOf(volume_).size(), 1u);
}

TEST_F(ParkedTest, AMoveIsFinishedWhenTheOldFilesCanBeRemoved) {
  ASSERT_OK(ArmFailPoints("migrate_volume.step5=error"));
  const std::string id =
      Begin(MigrateVolumeRequest{.volume_id = volume_, .share = engine_.address(1)});
  OperationPtr parked = UntilParked(id);
  EXPECT_EQ(engine_.Volume(volume_)->share, engine_.address(1));
  ASSERT_OK(ArmFailPoints(""));
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(id));
  EXPECT_EQ(ended->state, OperationState::kSucceeded) << Describe(ended->error);
  EXPECT_EQ(ObserveDirectory(engine_.directory(0)), "");
  EXPECT_TRUE(Holds(4));
}

// The share fills between two maps of a group: what needs room was done before.
TEST_F(ParkedTest, AGroupThatFindsNoRoomHasChangedNoMap) {
  ASSERT_OK_AND_ASSIGN(std::string other,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  ASSERT_OK(engine_.Snapshot(other));
  const std::string before = Observe(engine_);
  CreateSnapshotRequest group = NewSnapshot(volume_);
  group.more = {{other, ""}};
  bool fired = true;
  int64_t failures = 0;
  for (int64_t nth = 1; fired; ++nth) {
    files_->Inject({.nth = nth, .error_number = ENOSPC, .from_then_on = false});
    absl::Status status = engine_.Do(group);
    fired = files_->fired();
    files_->Clear();
    if (status.ok()) {
      for (const std::string& id : {volume_, other}) {
        ASSERT_OK(engine_.Do(
            DeleteSnapshotRequest{.snapshot_id = engine_->records().SnapshotsOf(id).back()->id}));
      }
    } else {
      ++failures;
    }
    EXPECT_EQ(Observe(engine_), before) << nth << ": " << Describe(status);
  }
  EXPECT_GT(failures, 8);
}

// An undo that fails does not give up either.
TEST_F(ParkedTest, AnUndoThatFailsIsTriedAgain) {
  const std::string before = Observe(engine_);
  ASSERT_OK(ArmFailPoints("create_snapshot.step1=error"));
  files_->Inject({.call = "Remove", .error_number = EIO, .from_then_on = true});
  const std::string id = Begin(NewSnapshot(volume_));
  OperationPtr parked = UntilItSays(id, "waiting to be undone");
  EXPECT_FALSE(Ended(parked->state));
  files_->Clear();
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(id));
  EXPECT_EQ(ended->state, OperationState::kFailed);
  EXPECT_EQ(Observe(engine_), before);
}

// What certainly changed nothing is no reason to wait.
TEST_F(ParkedTest, AShareThatIsReadOnlyFailsADeletionAndChangesNothing) {
  const std::string before = Observe(engine_);
  files_->Inject({.call = "Remove", .error_number = EROFS, .from_then_on = true});
  EXPECT_THAT(engine_.Do(DeleteVolumeRequest{.volume_id = volume_, .cascade = true}),
              HasReasonOf(Reason::kShareNotWritable));
  files_->Clear();
  EXPECT_EQ(engine_.Volume(volume_)->state, VolumeState::kAvailable);
  for (const std::string& id : snapshots_) {
    EXPECT_EQ(engine_.FindSnapshot(id)->state, SnapshotState::kAvailable);
  }
  EXPECT_EQ(Observe(engine_), before);
  EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume_, .cascade = true}));
}

// A tool of a server that is gone may hold an image for a while.
TEST_F(ParkedTest, AnImageThatIsLockedIsTriedAgainPastThePointOfNoReturn) {
  ASSERT_OK(ArmFailPoints("delete_snapshot.step1=error"));
  const std::string id = Begin(DeleteSnapshotRequest{.snapshot_id = snapshots_[1]});
  UntilParked(id);
  engine_.Stop();
  ASSERT_OK(ArmFailPoints(""));
  const std::string layer = engine_.directory() + "/volume-" + volume_ + "." + snapshots_[1];
  ASSERT_OK_AND_ASSIGN(auto file, FileSystem::Posix()->Open(layer, OpenMode::kReadWrite));
  ASSERT_OK(LockImage(*file));
  engine_.Start();
  OperationPtr parked = UntilParked(id);
  EXPECT_THAT(parked->parked, HasReasonOf(Reason::kVolumeInUse));
  file.reset();
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(id));
  EXPECT_EQ(ended->state, OperationState::kSucceeded) << Describe(ended->error);
  EXPECT_TRUE(SnapshotHolds(snapshots_[2], 3));
}

TEST_F(ParkedTest, OnlyWhatIsHeldUpIsAbandoned) {
  EXPECT_THAT(Abandon(NewId()), HasReasonOf(Reason::kOperationNotFound));
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Submit(NewSnapshot(volume_)));
  ASSERT_OK_AND_ASSIGN(ended, engine_.Wait(ended->id));
  EXPECT_THAT(Abandon(ended->id), HasReasonOf(Reason::kOperationNotParked));
  ASSERT_OK(ArmFailPoints("delete_volume.step0=sleep"));
  const std::string id = Begin(DeleteVolumeRequest{.volume_id = volume_, .cascade = true});
  EXPECT_THAT(Abandon(id), HasReasonOf(Reason::kOperationNotParked));
  EXPECT_THAT(Abandon(id, ""), HasReasonOf(Reason::kInvalidField));
  ASSERT_OK_AND_ASSIGN(ended, engine_.Wait(id));
  EXPECT_OK(ended->error);
}

TEST_F(ParkedTest, AVolumeWhoseRevertWasAbandonedCanOnlyBeDeleted) {
  ASSERT_OK(ArmFailPoints("revert_to_snapshot.step3=error"));
  const std::string id =
      Begin(RevertToSnapshotRequest{.snapshot_id = snapshots_[0], .discard_newer = true});
  UntilParked(id);
  ASSERT_OK(Abandon(id));
  ASSERT_OK_AND_ASSIGN(OperationPtr again, Abandon(id));
  EXPECT_EQ(again->state, OperationState::kAbandoned);
  ASSERT_OK(ArmFailPoints(""));
  for (bool restarted : {false, true}) {
    EXPECT_EQ(engine_.Volume(volume_)->state, VolumeState::kError);
    EXPECT_THAT(engine_.Do(NewSnapshot(volume_)), HasReasonOf(Reason::kVolumeState));
    EXPECT_THAT(engine_.Do(ExtendVolumeRequest{.volume_id = volume_, .size_bytes = 9 * kMiB}),
                HasReasonOf(Reason::kVolumeState));
    EXPECT_THAT(engine_.Do(Attach(volume_, "vm")), HasReasonOf(Reason::kVolumeState));
    EXPECT_THAT(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshots_[1]}),
                HasReasonOf(Reason::kVolumeState));
    EXPECT_THAT(engine_.Volume(volume_)->state_reason, HasSubstr("abandoned half-way"));
    if (!restarted) engine_.Restart();
  }
  EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume_, .cascade = true}));
  // What the revert had made and never used went at the restart.
  EXPECT_EQ(ObserveDirectory(engine_.directory(0)), "");
}

// What it was about to do is not known: its volume is held, no other.
TEST_F(ParkedTest, AJournalEntryThatCannotBeReadHoldsItsVolumeAlone) {
  ASSERT_OK_AND_ASSIGN(std::string other,
                       engine_.Create(VolumeFormat::kQcow2, kMiB, engine_.address(0)));
  engine_.Stop();
  OperationRecord record;
  record.id = NewId();
  record.kind = OperationKind::kDeleteSnapshot;
  record.volume_id = volume_;
  record.target = snapshots_[0];
  record.state = OperationState::kRunning;
  record.plan = R"({"steps":[{"do":"explode"}],"undo":[]})";
  record.create_time = absl::Now();
  {
    ASSERT_OK_AND_ASSIGN(auto catalog,
                         OpenSqliteCatalog({.path = engine_.state_path() + "/catalog.db"}));
    Transaction records;
    records.put_operations.push_back(record);
    ASSERT_OK(catalog->CommitAndWait(std::move(records)));
  }
  engine_.Start();
  OperationPtr parked = UntilParked(record.id);
  EXPECT_FALSE(parked->cancellable);
  EXPECT_OK(engine_.Snapshot(other));
  ASSERT_OK_AND_ASSIGN(OperationPtr behind, engine_.Submit(NewSnapshot(volume_)));
  EXPECT_EQ(behind->state, OperationState::kQueued);
  ASSERT_OK_AND_ASSIGN(OperationPtr ended, Abandon(record.id));
  EXPECT_EQ(ended->state, OperationState::kAbandoned);
  ASSERT_OK_AND_ASSIGN(behind, engine_.Wait(behind->id));
  EXPECT_THAT(behind->error, HasReasonOf(Reason::kVolumeState));
  EXPECT_EQ(engine_.Volume(volume_)->state, VolumeState::kError);
  ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = other, .cascade = true}));
  EXPECT_TRUE(Holds(4));
}

// A catalog that was restored from a backup of the time when a snapshot was being taken.
TEST_F(ParkedTest, ANewerMapIsNotOverwrittenByAnOlderCatalog) {
  ASSERT_OK(ArmFailPoints("create_snapshot.done=sleep"));
  const std::string first = Begin(NewSnapshot(volume_));
  Until(first, [](const OperationRecord& o) { return o.state == OperationState::kRunning; });
  const std::string old = engine_.dir().File("old");
  std::filesystem::copy(engine_.state_path(), old, std::filesystem::copy_options::recursive);
  ASSERT_OK(engine_.Wait(first));
  ASSERT_OK(ArmFailPoints(""));
  ASSERT_OK(engine_.Snapshot(volume_));
  QemuWrite(engine_.ActivePath(volume_), FileFormat::kQcow2, 0, kPiece, 5);
  engine_.Stop();
  const std::string before = ObserveDirectory(engine_.directory(0));
  for (const char* name : {"catalog.db", "catalog.db-wal", "catalog.db.mark"}) {
    std::filesystem::copy_file(old + "/" + name, engine_.state_path() + "/" + name,
                               std::filesystem::copy_options::overwrite_existing);
  }
  engine_.Start();
  OperationPtr parked = UntilParked(first);
  EXPECT_THAT(parked->parked, HasReasonOf(Reason::kCatalogOlder));  // as the share remembers
  std::promise<absl::Status> accepted;
  engine_->AcceptShare("", engine_.address(0),
                       [&](absl::Status status) { accepted.set_value(std::move(status)); });
  ASSERT_OK(accepted.get_future().get());
  // As the map says.
  Until(first, [](const OperationRecord& o) {
    auto details = GetErrorDetails(o.parked);
    return details.has_value() && details->reason == Reason::kCatalogOlder &&
           details->metadata.count("file") != 0;
  });
  EXPECT_EQ(ObserveDirectory(engine_.directory(0)), before);
  // Nor when it is given up.
  ASSERT_OK(Abandon(first));
  EXPECT_EQ(engine_.Volume(volume_)->state, VolumeState::kError);
  EXPECT_EQ(ObserveDirectory(engine_.directory(0)), before);
}

}  // namespace
}  // namespace cairn
