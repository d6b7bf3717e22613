// Changes that meet an error when they are half done, as people have met them: past the point of no
// return a change goes on until it is done, before it nothing has changed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "lib/catalog/catalog.h"
#include "lib/os/faulty_file_system.h"
#include "tests/unit/engine/faults/guest_content.h"
#include "tests/unit/engine/faults/stage.h"
#include "tests/unit/engine/requests_of_tests.h"

namespace cairn {
namespace {

using testing::FromSnapshot;
using testing::GuestContent;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::Stage;
using testing::TestEngine;

class HalfDoneTest : public ::testing::Test {
 protected:
  ~HalfDoneTest() override { files_.Clear(); }

  // Until it has ended, or waits for what is in its way.
  void AwaitEndOrWait(const std::string& operation) {
    const absl::Time until = absl::Now() + absl::Minutes(1);
    while (absl::Now() < until) {
      ASSERT_OK_AND_ASSIGN(OperationPtr seen, engine_->GetOperation(operation));
      if (Ended(seen->state) || !seen->parked.ok()) return;
      absl::SleepFor(absl::Milliseconds(1));
    }
    FAIL() << "it neither ends nor waits";
  }
  // Meets `fault` until it has ended or waits; then its end, without it.
  void DoUnder(FaultyFileSystem::Fault fault, const Request& request, OperationPtr* ended) {
    files_.Inject(std::move(fault));
    ASSERT_OK_AND_ASSIGN(OperationPtr operation, engine_.Submit(request));
    ASSERT_NO_FATAL_FAILURE(AwaitEndOrWait(operation->id));
    EXPECT_TRUE(files_.fired());
    files_.Clear();
    ASSERT_OK_AND_ASSIGN(*ended, engine_.Wait(operation->id));
    ASSERT_TRUE(Ended((*ended)->state)) << (*ended)->step;
  }
  std::string ContentOf(const std::string& volume_id) {
    VolumePtr volume = engine_.Volume(volume_id);
    return GuestContent(engine_.DirectoryOf(volume->share), volume->active_file,
                        FileFormat::kQcow2);
  }
  std::string ContentOfSnapshot(const std::string& snapshot_id) {
    return GuestContent(engine_.directory(0), engine_.FindSnapshot(snapshot_id)->file,
                        FileFormat::kQcow2);
  }
  // A volume made of it holds what the snapshot held.
  void ExpectRestorable(const std::string& snapshot_id, const std::string& content) {
    EXPECT_EQ(ContentOfSnapshot(snapshot_id), content);
    CreateVolumeRequest restore = NewVolume(VolumeFormat::kQcow2, 0, FromSnapshot(snapshot_id));
    restore.volume_id = stage_.Id("RESTORED");
    ASSERT_OK(engine_.Do(restore));
    EXPECT_EQ(ContentOf(restore.volume_id), content);
    EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = restore.volume_id}));
  }

  FaultyFileSystem files_{FileSystem::Posix()};
  TestEngine engine_{testing::QuietSetup(&files_)};
  Stage stage_{&engine_};
};

TEST_F(HalfDoneTest, ADeletionThatCannotWriteTheMapLosesNoOtherSnapshot) {
  const std::string volume = stage_.Volume(VolumeFormat::kQcow2);
  std::vector<std::string> snapshots;
  for (int i = 0; i < 3; ++i) snapshots.push_back(stage_.Snapshot(volume));
  const std::string content = ContentOf(volume);
  std::vector<std::string> contents;
  for (const std::string& id : snapshots) contents.push_back(ContentOfSnapshot(id));
  // No inode is left on the share.
  OperationPtr ended;
  ASSERT_NO_FATAL_FAILURE(DoUnder({.call = "Create", .error_number = ENOSPC, .from_then_on = true},
                                  DeleteSnapshotRequest{.snapshot_id = snapshots[0]}, &ended));
  EXPECT_EQ(ended->state, OperationState::kSucceeded) << Describe(ended->error);
  EXPECT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshots[0], .allow_missing = true}));
  for (const bool restart : {false, true}) {
    if (restart) engine_.Restart();
    ExpectRestorable(snapshots[1], contents[1]);
    ExpectRestorable(snapshots[2], contents[2]);
    EXPECT_EQ(ContentOf(volume), content);
  }
  ASSERT_OK(
      engine_.Do(RevertToSnapshotRequest{.snapshot_id = snapshots[1], .discard_newer = true}));
  EXPECT_EQ(ContentOf(volume), contents[1]);
}

// As servers of old have left it: merged, but the map not written, and the snapshot in ERROR.
TEST_F(HalfDoneTest, ADeletionThatFailedHalfWayLongAgoIsFinishedBySayingItAgain) {
  for (const size_t deleted : {0, 1, 2}) {
    SCOPED_TRACE(deleted);
    const std::string volume = stage_.Volume(VolumeFormat::kQcow2);
    std::vector<std::string> snapshots;
    for (int i = 0; i < 3; ++i) snapshots.push_back(stage_.Snapshot(volume));
    const std::string content = ContentOf(volume);
    std::vector<std::string> contents;
    for (const std::string& id : snapshots) contents.push_back(ContentOfSnapshot(id));
    files_.Inject({.call = "Create", .error_number = ENOSPC, .from_then_on = true});
    ASSERT_OK_AND_ASSIGN(OperationPtr operation,
                         engine_.Submit(DeleteSnapshotRequest{.snapshot_id = snapshots[deleted]}));
    ASSERT_NO_FATAL_FAILURE(AwaitEndOrWait(operation->id));
    engine_.Stop();
    files_.Clear();
    {
      ASSERT_OK_AND_ASSIGN(auto catalog,
                           OpenSqliteCatalog({.path = engine_.state_path() + "/catalog.db"}));
      Transaction failed;
      failed.put_volumes.push_back(*catalog->FindVolume(volume));
      failed.put_volumes[0].current_operation.clear();
      failed.put_snapshots.push_back(*catalog->FindSnapshot(snapshots[deleted]));
      failed.put_snapshots[0].state = SnapshotState::kError;
      ASSERT_OK_AND_ASSIGN(OperationPtr journalled, catalog->FindOperation(operation->id));
      failed.put_operations.push_back(*journalled);
      failed.put_operations[0].state = OperationState::kFailed;
      ASSERT_OK(catalog->CommitAndWait(failed));
    }
    engine_.Start();
    ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshots[deleted]}));
    for (size_t i = 0; i < snapshots.size(); ++i) {
      if (i != deleted) ExpectRestorable(snapshots[i], contents[i]);
    }
    EXPECT_EQ(ContentOf(volume), content);
    ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume, .cascade = true}));
    EXPECT_TRUE(stage_.Files(/*temporary=*/false).empty());
  }
}

TEST_F(HalfDoneTest, AGroupWhoseSecondMapHasNoRoomIsTakenBackWithoutRoom) {
  const std::string one = stage_.Volume(VolumeFormat::kQcow2);
  const std::string other = stage_.Volume(VolumeFormat::kQcow2);
  stage_.Snapshot(one);
  stage_.Snapshot(other);
  const std::string before = stage_.Look();
  CreateSnapshotRequest group = NewSnapshot(one, stage_.Id("S-NEW"));
  group.more = {{other, stage_.Id("S-NEW-TOO")}};
  // Its calls that make files are those of two layers and two maps; then the share is full, and stays
  // so until it has ended or waits.
  OperationPtr ended;
  ASSERT_NO_FATAL_FAILURE(DoUnder(
      {.call = "Create", .nth = 4, .error_number = ENOSPC, .from_then_on = true}, group, &ended));
  ASSERT_EQ(ended->state, OperationState::kFailed);
  EXPECT_EQ(stage_.Look(), before);
  engine_.Restart();
  EXPECT_EQ(stage_.Look(), before);
  EXPECT_OK(engine_.Do(group));
}

TEST_F(HalfDoneTest, AMoveThatMeetsAnErrorWhileTheOldFilesGoHasMoved) {
  const std::string volume = stage_.Volume(VolumeFormat::kQcow2);
  stage_.Snapshot(volume);
  const std::string content = ContentOf(volume);
  const size_t files = stage_.Files(/*temporary=*/false).size();
  OperationPtr ended;
  ASSERT_NO_FATAL_FAILURE(
      DoUnder({.call = "Remove", .nth = 2},
              MigrateVolumeRequest{.volume_id = volume, .share = engine_.address(1)}, &ended));
  EXPECT_EQ(ended->state, OperationState::kSucceeded) << Describe(ended->error);
  EXPECT_EQ(engine_.Volume(volume)->share, engine_.address(1));
  EXPECT_EQ(stage_.Files(/*temporary=*/false).size(), files);
  EXPECT_EQ(ContentOf(volume), content);
  ASSERT_OK(engine_.Do(MigrateVolumeRequest{.volume_id = volume, .share = engine_.address(0)}));
  EXPECT_EQ(stage_.Files(/*temporary=*/false).size(), files);
  EXPECT_EQ(ContentOf(volume), content);
}

TEST_F(HalfDoneTest, ARevertThatMeetsAnErrorIsFinished) {
  for (const char* call : {"Rename", "Remove", "SyncDirectory"}) {
    for (int64_t nth = 1;; ++nth) {
      SCOPED_TRACE(fmt::format("{} {}", call, nth));
      const std::string volume = stage_.Volume(VolumeFormat::kQcow2);
      const std::string snapshot = stage_.Snapshot(volume);
      const std::string content = ContentOfSnapshot(snapshot);
      for (int i = 0; i < 2; ++i) stage_.Snapshot(volume);
      files_.Inject({.call = call, .nth = nth});
      const RevertToSnapshotRequest revert{.snapshot_id = snapshot, .discard_newer = true};
      const absl::Status reverted = engine_.Do(revert);
      const bool fired = files_.fired();
      files_.Clear();
      if (!reverted.ok()) {
        EXPECT_EQ(engine_->records().SnapshotsOf(volume).size(), 3u) << Describe(reverted);
        EXPECT_OK(engine_.Do(revert));
      }
      EXPECT_EQ(engine_.Volume(volume)->state, VolumeState::kAvailable);
      EXPECT_EQ(engine_->records().SnapshotsOf(volume).size(), 1u);
      EXPECT_EQ(ContentOf(volume), content);
      EXPECT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = volume, .cascade = true}));
      EXPECT_TRUE(stage_.Files(/*temporary=*/false).empty());
      if (!fired || HasFailure()) break;
    }
  }
}

}  // namespace
}  // namespace cairn
