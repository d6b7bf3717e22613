#include <fmt/format.h>

#include <filesystem>
#include <string>

#include "absl/time/clock.h"
#include "lib/os/deadline.h"
#include "tests/support/matchers.h"
#include "tests/support/qemu.h"
#include "tests/unit/hypervisor/machine.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class QmpMergeTest : public ::testing::TestWithParam<FileFormat> {
 protected:
  // The layer `top` goes down into the one below it; the one above it is named.
  LayerMerge Commit(int top, int above, int base) const {
    LayerMerge merge;
    merge.direction = MergeDirection::kCommit;
    merge.top = LayerName(top);
    merge.base = merge.backing_after = LayerName(base);
    merge.rebased = LayerName(above);
    merge.backing_format_after = volume_.Format(base);
    return merge;
  }
  // The layer `base` goes up into `top`; `below`: the one under it, -1 for none.
  LayerMerge Stream(int top, int base, int below) const {
    LayerMerge merge;
    merge.direction = MergeDirection::kStream;
    merge.top = merge.rebased = LayerName(top);
    merge.base = LayerName(base);
    if (below >= 0) {
      merge.backing_after = LayerName(below);
      merge.backing_format_after = volume_.Format(below);
    }
    return merge;
  }
  std::string Names(int layer) const {
    return LayerName(layer) + " " + FormatOf(volume_.Format(layer));
  }
  void ExpectDone(const absl::StatusOr<JobState>& state) const {
    ASSERT_OK(state);
    EXPECT_EQ(state->phase, Phase::kDone);
  }

  TempDir dir_;
  Volume volume_{dir_.path(), kVolume, GetParam()};
  const DiskRef disk_ = {"disk0", kVolume};
};
INSTANTIATE_TEST_SUITE_P(Base, QmpMergeTest,
                         ::testing::Values(FileFormat::kRaw, FileFormat::kQcow2),
                         [](const auto& info) { return FormatOf(info.param); });

TEST_P(QmpMergeTest, MiddleLayersGoDownUnderAWriter) {
  volume_.Make(3);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(1, "disk0")}});
  auto hypervisor = machine.Connect();
  // The node with the disk's name is in the middle then.
  for (int layer = 2; layer <= 3; ++layer) {
    ASSERT_OK(hypervisor->SwitchToLayers({{disk_, volume_.Switch(layer)}}));
  }
  Writer writer(machine.nbd_socket(), "disk0");
  ASSERT_TRUE(writer.Progresses(20));
  ExpectDone(hypervisor->Merge(disk_, Commit(2, 3, 1), "merge-2", kLong));
  EXPECT_EQ(machine.NodesOf(volume_.Path(2)), 0);
  EXPECT_EQ(volume_.BackingOf(3), Names(1));
  std::filesystem::remove(volume_.Path(2));
  ASSERT_TRUE(writer.Progresses(20));
  ExpectDone(hypervisor->Merge(disk_, Commit(1, 3, 0), "merge-1", kLong));
  EXPECT_EQ(machine.NodesOf(volume_.Path(1)), 0) << "a node of -blockdev is the monitor's";
  EXPECT_EQ(volume_.BackingOf(3), Names(0));
  std::filesystem::remove(volume_.Path(1));
  // Its name is gone, and it is found all the same.
  EXPECT_THAT(FilesOf(*hypervisor, disk_), ElementsAre(LayerName(3), LayerName(0)));
  // Again: nothing happens.
  ExpectDone(hypervisor->Merge(disk_, Commit(1, 3, 0), "merge-1", kLong));
  EXPECT_TRUE(machine.Ask("query-jobs").empty());
  ASSERT_TRUE(writer.Progresses(20));
  writer.Stop();
  EXPECT_EQ(writer.error(), "");
  machine.Kill();
  EXPECT_TRUE(volume_.Content(3) == writer.content());
  volume_.Check(3);
}

TEST_P(QmpMergeTest, LowerLayersGoUpUnderAWriter) {
  volume_.Make(3);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(3, "disk0")}});
  auto hypervisor = machine.Connect();
  Writer writer(machine.nbd_socket(), "disk0");
  ASSERT_TRUE(writer.Progresses(20));
  // Into a middle layer.
  ExpectDone(hypervisor->Merge(disk_, Stream(2, 1, 0), "up-1", kLong));
  EXPECT_EQ(machine.NodesOf(volume_.Path(1)), 0);
  EXPECT_EQ(volume_.BackingOf(2), Names(0));
  std::filesystem::remove(volume_.Path(1));
  // Into the active one.
  ExpectDone(hypervisor->Merge(disk_, Stream(3, 2, 0), "up-2", kLong));
  EXPECT_EQ(volume_.BackingOf(3), Names(0));
  std::filesystem::remove(volume_.Path(2));
  ASSERT_TRUE(writer.Progresses(20));
  // With nothing left below.
  ExpectDone(hypervisor->Merge(disk_, Stream(3, 0, -1), "up-3", kLong));
  ExpectDone(hypervisor->Merge(disk_, Stream(3, 0, -1), "up-3", kLong));
  EXPECT_EQ(machine.NodesOf(volume_.Path(0)), 0);
  EXPECT_EQ(volume_.BackingOf(3), "");
  std::filesystem::remove(volume_.Path(0));
  EXPECT_THAT(FilesOf(*hypervisor, disk_), ElementsAre(LayerName(3)));
  ASSERT_TRUE(writer.Progresses(20));
  writer.Stop();
  EXPECT_EQ(writer.error(), "");
  machine.Kill();
  EXPECT_TRUE(volume_.Content(3) == writer.content());
  volume_.Check(3);
}

using QmpJobTest = QmpMergeTest;
INSTANTIATE_TEST_SUITE_P(Base, QmpJobTest, ::testing::Values(FileFormat::kQcow2));

TEST_P(QmpJobTest, IsFoundAgainByAnotherConnection) {
  volume_.Make(2);
  Machine machine = StorageDaemon({{"disk0", volume_.SlowBlockdevs(2, "disk0")}});
  for (int look = 0; look < 2; ++look) {
    auto hypervisor = machine.Connect();
    ASSERT_OK_AND_ASSIGN(const JobState state,
                         hypervisor->Merge(disk_, Commit(1, 2, 0), "m", absl::Milliseconds(20)));
    EXPECT_EQ(state.phase, Phase::kRunning);
    EXPECT_EQ(state.total_bytes, kDiskBytes);
    EXPECT_EQ(machine.Ask("query-jobs").size(), 1);
    EXPECT_THAT(FilesOf(*hypervisor, disk_), ElementsAre(LayerName(2), LayerName(1), LayerName(0)));
    // Nothing else is done to it meanwhile.
    volume_.MakeLayer(3);
    EXPECT_THAT(hypervisor->SwitchToLayers({{disk_, volume_.Switch(3)}}),
                HasReasonOf(Reason::kHypervisorFailed));
  }
  // It has done its work while nobody is there, and waits.
  Hasten(machine);
  const Deadline deadline(kLong);
  while (machine.Ask("query-jobs")[0]["status"] != "pending") ASSERT_FALSE(deadline.passed());
  ExpectDone(machine.Connect()->Merge(disk_, Commit(1, 2, 0), "m", absl::ZeroDuration()));
  EXPECT_TRUE(machine.Ask("query-jobs").empty());
  EXPECT_EQ(machine.NodesOf(volume_.Path(1)), 0);
}

TEST_P(QmpJobTest, IsCancelledAndBegunAgain) {
  volume_.Make(2);
  Machine machine = StorageDaemon({{"disk0", volume_.SlowBlockdevs(2, "disk0")}});
  auto hypervisor = machine.Connect();
  ASSERT_OK_AND_ASSIGN(const JobState running,
                       hypervisor->Merge(disk_, Stream(2, 1, 0), "up", absl::ZeroDuration()));
  EXPECT_EQ(running.phase, Phase::kRunning);
  ASSERT_OK(hypervisor->CancelJob(disk_, "up"));
  EXPECT_TRUE(machine.Ask("query-jobs").empty());
  EXPECT_THAT(FilesOf(*hypervisor, disk_), ElementsAre(LayerName(2), LayerName(1), LayerName(0)));
  ASSERT_OK(hypervisor->CancelJob(disk_, "up"));
  // One that somebody else cancels says so once.
  ASSERT_OK(hypervisor->Merge(disk_, Stream(2, 1, 0), "up", absl::ZeroDuration()));
  machine.Ask("block-job-cancel", {{"device", "up"}});
  EXPECT_THAT(hypervisor->Merge(disk_, Stream(2, 1, 0), "up", kLong),
              HasReasonOf(Reason::kCancelled));
  Hasten(machine);
  ExpectDone(hypervisor->Merge(disk_, Stream(2, 1, 0), "up", kLong));
}

TEST_P(QmpJobTest, ThatFailedSaysSoOnce) {
  volume_.Make(2);
  // The base has no room: nothing can be written to it.
  nlohmann::json options = volume_.SlowBlockdevs(2, "disk0");
  nlohmann::json& base = options[0]["file"];
  base = {{"driver", "blkdebug"},
          {"image", base["file"]},
          {"inject-error", {{{"event", "write_aio"}, {"errno", 28}, {"once", true}}}}};
  Machine machine = StorageDaemon({{"disk0", options}});
  auto hypervisor = machine.Connect();
  const auto full = hypervisor->Merge(disk_, Commit(1, 2, 0), "m", kLong);
  EXPECT_THAT(full, HasReasonOf(Reason::kNoSpace));
  EXPECT_EQ(GetErrorDetails(full.status())->metadata.at("address"), machine.qmp_address());
  EXPECT_TRUE(machine.Ask("query-jobs").empty());
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 3);
  ExpectDone(hypervisor->Merge(disk_, Commit(1, 2, 0), "m", kLong));
}

TEST_P(QmpJobTest, WhoseDataCannotBeFlushedChangesNothing) {
  volume_.Make(2);
  nlohmann::json options = volume_.SlowBlockdevs(2, "disk0");
  nlohmann::json& active = options[2]["file"];
  active = {{"driver", "blkdebug"},
            {"image", active["file"]},
            // When the table of what was streamed is written, which is kept in memory until then.
            {"inject-error", {{{"event", "l2_update"}, {"errno", 28}}}}};
  Machine machine = StorageDaemon({{"disk0", options}});
  Hasten(machine);
  auto hypervisor = machine.Connect();
  EXPECT_THAT(hypervisor->Merge(disk_, Stream(2, 1, 0), "m", kLong), HasReasonOf(Reason::kNoSpace));
  EXPECT_TRUE(machine.Ask("query-jobs").empty());
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 3);
  EXPECT_EQ(volume_.BackingOf(2), Names(1));
}

TEST_P(QmpJobTest, WhatIsNotAsExpectedIsRefused) {
  volume_.Make(3);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(3, "disk0")}});
  auto hypervisor = machine.Connect();
  LayerMerge wrong_format = Commit(1, 2, 0);
  wrong_format.backing_format_after = FileFormat::kRaw;
  LayerMerge elsewhere = Stream(3, 2, 1);
  elsewhere.backing_after = LayerName(0);
  for (const LayerMerge& merge :
       {Commit(2, 3, 0), Commit(3, 4, 2), Commit(1, 3, 0), Stream(3, 1, 0), Stream(4, 3, 2),
        Stream(2, 1, -1), wrong_format, elsewhere}) {
    EXPECT_THAT(hypervisor->Merge(disk_, merge, "m", kLong),
                HasReasonOf(Reason::kHypervisorMismatch));
  }
  // QEMU's own words.
  const auto refused = hypervisor->Merge(disk_, Commit(1, 2, 0), "not a name", kLong);
  EXPECT_THAT(refused, HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(Describe(refused.status()), HasSubstr("block-commit"));
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 4);
}

TEST_P(QmpJobTest, ItsMachineDies) {
  for (const bool commit : {true, false}) {
    TempDir dir;
    const Volume volume(dir.path(), kVolume, GetParam());
    volume.Make(2);
    const std::string content = volume.Content(2);
    const LayerMerge merge = commit ? Commit(1, 2, 0) : Stream(2, 1, 0);
    Machine machine = StorageDaemon({{"disk0", volume.SlowBlockdevs(2, "disk0")}});
    auto hypervisor = machine.Connect();
    ASSERT_OK(hypervisor->Merge(disk_, merge, "m", absl::Milliseconds(100)));
    machine.Kill();
    EXPECT_THAT(hypervisor->Merge(disk_, merge, "m", kLong),
                HasReasonOf(Reason::kHypervisorUnavailable));
    EXPECT_THAT(hypervisor->CancelJob(disk_, "m"), HasReasonOf(Reason::kHypervisorUnavailable));
    // The headers tell that it was not done, and it can be done again.
    EXPECT_EQ(volume.BackingOf(2), Names(1));
    EXPECT_TRUE(volume.Content(2) == content);
    Machine again = StorageDaemon({{"disk0", volume.Blockdev(2, "disk0")}});
    ExpectDone(again.Connect()->Merge(disk_, merge, "m", kLong));
    // Nothing is only in its memory any more.
    again.Kill();
    EXPECT_TRUE(volume.Content(2) == content);
    EXPECT_EQ(volume.BackingOf(2), Names(0));
  }
}

}  // namespace
}  // namespace cairn::testing
