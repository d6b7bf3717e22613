// The machine loses its power right after a caller was told that a change is done, and the catalog loses
// what had not come to the disk: the end of that change. The next start finds it again, and leaves alone
// what has been written since.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/os/file_error.h"
#include "tests/support/engine_fixture.h"
#include "tests/support/qemu.h"
#include "tests/unit/engine/requests_of_tests.h"
#include "tests/unit/engine/watched_system.h"

namespace cairn {
namespace {

using testing::HasReasonOf;
using testing::kPiece;
using testing::NewSnapshot;
using testing::NewVolume;
using testing::QemuReads;
using testing::QemuWrite;
using testing::TestEngine;

// The directory of a share becomes durable last: what the catalog has on the disk then it has after the
// power cut.
class PowerCut : public testing::WatchedFileSystem {
 public:
  using WatchedFileSystem::WatchedFileSystem;

  void KeepAt(const std::string& directory, std::function<void()> keep) {
    directory_ = directory;
    keep_ = std::move(keep);
  }
  absl::Status SyncDirectory(const std::string& path) override {
    if (path != directory_) return WatchedFileSystem::SyncDirectory(path);
    if (broken) return FileError(EIO, "fsync", path);
    absl::Status status = WatchedFileSystem::SyncDirectory(path);
    if (keep_) std::exchange(keep_, nullptr)();
    return status;
  }

  std::atomic<bool> broken{false};

 private:
  std::string directory_;
  std::function<void()> keep_;
};

class PowerCutTest : public ::testing::Test {
 protected:
  static TestEngine::Setup SetupOf(FileSystem* files) {
    TestEngine::Setup setup;
    setup.shares = 1;
    setup.engine.files = files;
    return setup;
  }

  // What the caller is told of `request`. The catalog is kept as it is on the disk at that moment.
  void Change(Request request, OperationPtr* told) {
    files_.KeepAt(engine_.directory(), [this] {
      std::filesystem::copy(engine_.state_path(), kept_, std::filesystem::copy_options::recursive);
    });
    ASSERT_OK_AND_ASSIGN(OperationPtr operation, engine_.Submit(std::move(request)));
    ASSERT_OK_AND_ASSIGN(*told, engine_.Wait(operation->id));
    ASSERT_EQ((*told)->state, OperationState::kSucceeded) << (*told)->error;
    ASSERT_TRUE(std::filesystem::exists(kept_));
  }
  void LosePower() {
    engine_.Stop();
    std::filesystem::remove_all(engine_.state_path());
    std::filesystem::rename(kept_, engine_.state_path());
    engine_.Start();
  }
  OperationState StateOf(const OperationRecord& told) {
    auto operation = engine_->GetOperation(told.id);
    EXPECT_OK(operation);
    return operation.ok() ? (*operation)->state : OperationState::kFailed;
  }
  void ExpectItEnds(const OperationRecord& told) {
    ASSERT_OK_AND_ASSIGN(OperationPtr ended, engine_.Wait(told.id));
    EXPECT_EQ(ended->state, OperationState::kSucceeded) << ended->error;
  }

  testing::EventLog log_;
  PowerCut files_{&log_};
  TestEngine engine_{SetupOf(&files_)};
  const std::string kept_ = engine_.dir().File("kept");
};

TEST_F(PowerCutTest, AVolumeKeepsWhatWasWrittenSince) {
  for (const VolumeFormat format :
       {VolumeFormat::kQcow2, VolumeFormat::kRawSparse, VolumeFormat::kRawThick}) {
    SCOPED_TRACE(VolumeFormatName(format));
    OperationPtr told;
    ASSERT_NO_FATAL_FAILURE(Change(NewVolume(format, kMiB), &told));
    const std::string path = engine_.ActivePath(told->volume_id);
    QemuWrite(path, BaseFileFormat(format), 0, kPiece, 7);
    const int64_t revision = engine_->records().revision();
    ASSERT_NO_FATAL_FAILURE(LosePower());
    ExpectItEnds(*told);
    EXPECT_EQ(engine_.Volume(told->volume_id)->state, VolumeState::kAvailable);
    EXPECT_GT(engine_.Volume(told->volume_id)->revision, revision);  // none is given out twice
    EXPECT_TRUE(QemuReads(path, BaseFileFormat(format), 0, kPiece, 7));
  }
}

TEST_F(PowerCutTest, ASnapshotKeepsWhatWasWrittenAboveItSince) {
  ASSERT_OK_AND_ASSIGN(std::string id, engine_.Create(VolumeFormat::kQcow2, kMiB));
  QemuWrite(engine_.ActivePath(id), FileFormat::kQcow2, 0, kPiece, 1);
  OperationPtr told;
  ASSERT_NO_FATAL_FAILURE(Change(NewSnapshot(id), &told));
  const std::string layer = engine_.ActivePath(id);
  QemuWrite(layer, FileFormat::kQcow2, 0, kPiece, 2);
  ASSERT_NO_FATAL_FAILURE(LosePower());
  ExpectItEnds(*told);
  EXPECT_EQ(engine_.ActivePath(id), layer);
  EXPECT_TRUE(QemuReads(layer, FileFormat::kQcow2, 0, kPiece, 2));
  EXPECT_EQ(engine_.FindSnapshot(told->target)->state, SnapshotState::kAvailable);
  EXPECT_OK(engine_.Snapshot(id));
}

TEST_F(PowerCutTest, WhatWasToldAsDoneIsNotTakenBack) {
  OperationPtr told;
  ASSERT_NO_FATAL_FAILURE(Change(NewVolume(VolumeFormat::kQcow2, kMiB), &told));
  const std::string path = engine_.ActivePath(told->volume_id);
  QemuWrite(path, FileFormat::kQcow2, 0, kPiece, 3);
  files_.broken = true;
  ASSERT_NO_FATAL_FAILURE(LosePower());
  engine_->Cancel(told->id, [](const absl::StatusOr<OperationPtr>& answer) {
    EXPECT_THAT(answer, HasReasonOf(Reason::kOperationNotCancellable));
  });
  absl::SleepFor(absl::Milliseconds(200));
  EXPECT_EQ(StateOf(*told), OperationState::kRunning);
  EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, 0, kPiece, 3));
  files_.broken = false;
  ExpectItEnds(*told);
  EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, 0, kPiece, 3));
}

// The power may also be lost before the file had its name, and nobody was told.
TEST_F(PowerCutTest, WhatIsNotThereIsMade) {
  OperationPtr told;
  ASSERT_NO_FATAL_FAILURE(Change(NewVolume(VolumeFormat::kQcow2, kMiB), &told));
  const std::string path = engine_.ActivePath(told->volume_id);
  engine_.Stop();
  std::filesystem::remove(path);
  ASSERT_NO_FATAL_FAILURE(LosePower());
  ExpectItEnds(*told);
  EXPECT_TRUE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace cairn
