// Layers that no snapshot needs: told of while they are there, and merged once nobody uses the volume.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "lib/base/failpoint.h"
#include "lib/image/image_lock.h"
#include "lib/image/qcow2_commit.h"
#include "tests/unit/engine/in_use_fixture.h"
#include "tests/unit/engine/sessions_of_tests.h"

namespace cairn {
namespace {

using testing::Attach;
using testing::Await;
using testing::Detach;
using testing::HasReasonOf;
using testing::NewSnapshot;
using testing::Observe;

// Holds `qemu-img commit` until it is cancelled, once it is told to.
class HeldMerges : public ProcessRunner {
 public:
  absl::StatusOr<ProcessResult> Run(const ProcessSpec& spec) override {
    if (!hold || spec.argv.size() < 2 || spec.argv[1] != "commit") return base_->Run(spec);
    held = true;
    const absl::Time until = absl::Now() + absl::Minutes(1);
    while (!spec.cancel.cancelled() && absl::Now() < until) absl::SleepFor(absl::Milliseconds(1));
    RETURN_IF_ERROR(spec.cancel.Check());
    return base_->Run(spec);
  }
  absl::StatusOr<std::unique_ptr<Process>> Start(const ProcessSpec& spec) override {
    return base_->Start(spec);
  }

  std::atomic<bool> hold{false};
  std::atomic<bool> held{false};

 private:
  ProcessRunner* const base_ = ProcessRunner::Posix();
};

// Before the engine that runs them.
struct WithHeldMerges {
  HeldMerges processes_;
};

class SurplusTest : public WithHeldMerges, public testing::InUseTest {
 protected:
  SurplusTest() : testing::InUseTest(&processes_) {}
  ~SurplusTest() override { EXPECT_OK(ArmFailPoints("")); }

  // In use, without a snapshot, and with one layer: what deleting the only snapshot has left.
  void MakeSurplus() {
    Make(VolumeFormat::kRawThick);
    Open();
    Write(0, 1);
    ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_.Snapshot(id_));
    Write(0, 2);
    Write(1, 3);
    ASSERT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = snapshot}));
    Write(2, 4);
    const VolumePtr volume = engine_.Volume(id_);
    ASSERT_EQ(volume->chain.size(), 2u);
    EXPECT_EQ(volume->surplus_layers, std::vector<std::string>{volume->active_file});
  }
  // More than is merged without a child.
  void Swell() {
    auto file = FileSystem::Posix()->Open(engine_.ActivePath(id_), OpenMode::kReadWrite);
    ASSERT_OK(file);
    auto stat = (*file)->Stat();
    ASSERT_OK(stat);
    ASSERT_OK((*file)->Allocate(stat->size_bytes, 2 * kNativeCommitBytesMax + kMiB));
  }
  // Files that no catalog knows: a base, and a layer that is no snapshot's.
  std::string MakeForeign() {
    const std::string id = NewId();
    const std::string base = "volume-" + id;
    const std::string layer = LayerFileName(id, NewId());
    const std::string directory = engine_.directory(0) + "/";
    testing::RunTool({"qemu-img", "create", "-q", "-f", "qcow2", directory + base, "1M"});
    testing::RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "qcow2",
                      directory + layer, "1M"});
    testing::QemuWrite(directory + layer, FileFormat::kQcow2, 0, testing::kPiece, 7);
    testing::WriteFile(directory + InfoFileName(id), FormatInfoMap({layer, {}}));
    return id;
  }
  std::vector<OperationPtr> Merges() {
    auto page = engine_->records().ListOperations(
        {.filter = "kind=MERGE_LAYERS", .order_by = {}, .page_size = 1000, .page_token = {}});
    EXPECT_OK(page);
    return page.ok() ? page->items : std::vector<OperationPtr>();
  }
  // The first merge that has ended so.
  OperationPtr UntilMergeIs(OperationState state) {
    const absl::Time until = absl::Now() + absl::Seconds(60);
    while (absl::Now() < until) {
      for (const OperationPtr& merge : Merges()) {
        if (merge->state == state) return merge;
      }
      absl::SleepFor(absl::Milliseconds(2));
    }
    ADD_FAILURE() << "no merge is " << OperationStateName(state);
    return std::make_shared<const OperationRecord>();
  }
  // It has failed, waits, or has waited.
  void UntilMergeStops() {
    const absl::Time until = absl::Now() + absl::Seconds(60);
    while (absl::Now() < until) {
      for (const OperationPtr& merge : Merges()) {
        if (merge->volume_id != id_) continue;
        const auto now = engine_->GetOperation(merge->id);
        if (now.ok() && (!(*now)->parked.ok() || Ended((*now)->state))) return;
      }
      absl::SleepFor(absl::Milliseconds(2));
    }
    ADD_FAILURE() << "no merge stops";
  }
  void ExpectMerged() {
    ExpectSound();
    EXPECT_EQ(engine_.Volume(id_)->chain.size(), 1u);
    EXPECT_TRUE(Reads(0, 2));
    EXPECT_TRUE(Reads(1, 3));
    EXPECT_TRUE(Reads(2, 4));
  }
};

TEST_F(SurplusTest, WhatTheNewestSnapshotHasLeftGoesOnceTheVolumeIsDetached) {
  MakeSurplus();
  EXPECT_TRUE(Merges().empty());
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  ExpectMerged();
  EXPECT_EQ(Map().active, "volume-" + id_);
  ASSERT_EQ(Merges().size(), 1u);
  const OperationPtr merge = UntilMergeIs(OperationState::kSucceeded);
  EXPECT_EQ(merge->volume_id, id_);
  EXPECT_EQ(merge->target, id_);
  EXPECT_EQ(merge->requested_by, "the server");
  // A volume without such a layer is left alone.
  ASSERT_OK(engine_.Do(NewSnapshot(id_)));
  ASSERT_OK(engine_.Do(Attach(id_, "vm")));
  ASSERT_OK(engine_.Do(Detach(id_)));
  EXPECT_EQ(Merges().size(), 1u);
  EXPECT_EQ(engine_.Volume(id_)->chain.size(), 2u);
}

// Snapshots above and below it stay, and show what they showed.
TEST_F(SurplusTest, OneInTheMiddleOfTheChainGoesToo) {
  MakeSurplus();
  ASSERT_OK_AND_ASSIGN(const std::string snapshot, engine_.Snapshot(id_));
  EXPECT_EQ(engine_.Volume(id_)->surplus_layers.size(), 1u);
  Write(2, 9);
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  ExpectSound();
  EXPECT_EQ(engine_.Volume(id_)->chain.size(), 2u);
  EXPECT_EQ(engine_.FindSnapshot(snapshot)->file, "volume-" + id_);
  EXPECT_TRUE(Reads(2, 9));
  ASSERT_OK(engine_.Do(RevertToSnapshotRequest{.snapshot_id = snapshot}));
  EXPECT_TRUE(Reads(0, 2));
  EXPECT_TRUE(Reads(2, 4));
}

TEST_F(SurplusTest, AFileThatWasExtendedAboveGrowsItsBase) {
  MakeSurplus();
  ASSERT_OK(engine_.Do(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB}));
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  ExpectMerged();
  auto stat = FileSystem::Posix()->Stat(engine_.ActivePath(id_));
  ASSERT_OK(stat);
  EXPECT_EQ(stat->size_bytes, 2 * kMiB);
  EXPECT_GE(stat->physical_bytes, 2 * kMiB);  // it is thick
}

// A machine that is told to close the disk may take a while.
TEST_F(SurplusTest, AnImageThatIsOpenElsewhereIsMergedLater) {
  MakeSurplus();
  auto file = FileSystem::Posix()->Open(engine_.ActivePath(id_), OpenMode::kReadWrite);
  ASSERT_OK(file);
  ASSERT_OK(LockImage(**file));
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  EXPECT_THAT(UntilMergeIs(OperationState::kFailed)->error, HasReasonOf(Reason::kVolumeInUse));
  EXPECT_EQ(engine_.Volume(id_)->surplus_layers.size(), 1u);
  EXPECT_EQ(engine_.Volume(id_)->state, VolumeState::kAvailable);
  file->reset();
  ExpectMerged();
}

TEST_F(SurplusTest, UnderAFileOfSomebodyElsesItStaysAsLongAsThat) {
  MakeSurplus();
  const std::string foreign = engine_.directory(0) + "/theirs";
  testing::RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-b", "volume-" + id_, "-F", "raw",
                    "-u", foreign, "1M"});
  ASSERT_OK(Await<absl::Status>([&](auto done) { engine_->RescanPool("", done); }));
  const std::string base = engine_.directory(0) + "/volume-" + id_;
  const std::string before = testing::ReadFile(base);
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  EXPECT_THAT(UntilMergeIs(OperationState::kFailed)->error,
              HasReasonOf(Reason::kBackingFileShared));
  EXPECT_EQ(testing::ReadFile(base), before);
  ASSERT_TRUE(std::filesystem::remove(foreign));
  ExpectMerged();
}

// Nobody waits for a merge that nobody has asked for.
TEST_F(SurplusTest, AnAttachmentNeedNotWaitForAMerge) {
  MakeSurplus();
  Swell();
  processes_.hold = true;
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  const OperationPtr running = UntilMergeIs(OperationState::kRunning);
  while (!processes_.held) absl::SleepFor(absl::Milliseconds(1));
  ASSERT_OK(engine_.Do(Attach(id_, "another")));
  EXPECT_EQ(UntilEnd(running->id)->state, OperationState::kCancelled);
  VolumePtr volume = engine_.Volume(id_);
  EXPECT_EQ(volume->state, VolumeState::kInUse);
  EXPECT_EQ(volume->surplus_layers.size(), 1u);
  EXPECT_TRUE(Reads(0, 2));
  processes_.hold = false;
  ASSERT_OK(engine_.Do(Detach(id_)));
  ExpectMerged();
}

// What gave way comes again without a detachment, when the volume is free.
TEST_F(SurplusTest, OtherOperationsGoFirstToo) {
  MakeSurplus();
  Swell();
  processes_.hold = true;
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  while (!processes_.held) absl::SleepFor(absl::Milliseconds(1));
  ASSERT_OK(engine_.Do(ExtendVolumeRequest{.volume_id = id_, .size_bytes = 2 * kMiB}));
  processes_.hold = false;
  ExpectMerged();
  EXPECT_EQ(UntilMergeIs(OperationState::kCancelled)->volume_id, id_);
}

TEST_F(SurplusTest, AVolumeIsDeletedInTheMidstOfAMerge) {
  MakeSurplus();
  Swell();
  processes_.hold = true;
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  while (!processes_.held) absl::SleepFor(absl::Milliseconds(1));
  ASSERT_OK(engine_.Do(DeleteVolumeRequest{.volume_id = id_}));
  EXPECT_EQ(testing::ObserveDirectory(engine_.directory(0)), "");
}

// A crash between the end of the detachment and the begin of the merge.
TEST_F(SurplusTest, AStartFindsWhatIsLeft) {
  MakeSurplus();
  ASSERT_OK(ArmFailPoints("merge_layers.step0=error"));
  machine_.SetUp(false);
  ASSERT_OK(ForceDetach());
  UntilMergeIs(OperationState::kFailed);
  engine_.Stop();
  ASSERT_OK(ArmFailPoints(""));
  engine_.Start();
  ExpectMerged();
}

// Before the point of no return it has changed nothing, after it it waits.
TEST_F(SurplusTest, WhereverItStopsTheNextStartFinishesIt) {
  for (const char* place : {"planned", "step0", "step1", "crossed", "step2", "step3", "done"}) {
    SCOPED_TRACE(place);
    MakeSurplus();
    const std::string point = std::string("merge_layers.") + place;
    ASSERT_OK(ArmFailPoints(point + "=error"));
    RecordFailPoints(true);
    machine_.SetUp(false);
    ASSERT_OK(ForceDetach());
    UntilMergeStops();
    RecordFailPoints(false);
    EXPECT_THAT(RecordedFailPoints(), ::testing::Contains(point));
    engine_.Stop();
    ASSERT_OK(ArmFailPoints(""));
    engine_.Start();
    ExpectMerged();
  }
}

// As another system may have left it.
TEST_F(SurplusTest, OfAnAdoptedVolumeToo) {
  id_ = MakeForeign();
  ASSERT_OK(engine_.Do(testing::Adopt(engine_.address(0), id_, VolumeFormat::kQcow2)));
  ExpectSound();
  EXPECT_EQ(engine_.Volume(id_)->chain, std::vector<std::string>{"volume-" + id_});
  EXPECT_TRUE(Reads(0, 7));
}

// Whatever comes just when the merge begins: one of them is first, and both are done.
TEST_F(SurplusTest, OthersMayComeAtAnyMoment) {
  constexpr size_t kVolumes = 24;
  std::vector<std::string> ids;
  for (size_t i = 0; i < kVolumes; ++i) ids.push_back(MakeForeign());
  std::vector<std::thread> callers;
  for (size_t caller = 0; caller < 4; ++caller) {
    callers.emplace_back([&, caller] {
      for (size_t i = caller; i < kVolumes; i += 4) {
        const std::string& id = ids[i];
        EXPECT_OK(engine_.Do(testing::Adopt(engine_.address(0), id, VolumeFormat::kQcow2)));
        for (int turn = 0; turn < 3; ++turn) {
          if ((i + caller) % 2 == 0) {
            EXPECT_OK(engine_.Do(Attach(id, "vm")));
            EXPECT_OK(engine_.Do(Detach(id)));
          } else {
            const auto snapshot = engine_.Snapshot(id);
            EXPECT_OK(snapshot);
            if (!snapshot.ok()) continue;
            EXPECT_OK(engine_.Do(DeleteSnapshotRequest{.snapshot_id = *snapshot}));
          }
        }
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  for (const std::string& id : ids) {
    id_ = id;
    ExpectSound();
    EXPECT_EQ(engine_.Volume(id_)->chain.size(), 1u);
    EXPECT_TRUE(Reads(0, 7));
  }
  for (const OperationPtr& merge : Merges()) {
    if (merge->state != OperationState::kFailed) continue;
    EXPECT_THAT(merge->error, HasReasonOf(Reason::kVolumeInUse));  // attached before its turn
  }
}

}  // namespace
}  // namespace cairn
