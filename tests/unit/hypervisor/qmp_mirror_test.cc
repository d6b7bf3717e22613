#include <filesystem>
#include <string>

#include "tests/support/matchers.h"
#include "tests/support/qemu.h"
#include "tests/unit/hypervisor/machine.h"

namespace cairn::testing {
namespace {

constexpr char kJob[] = "move-1";

class QmpMirrorTest : public ::testing::Test {
 protected:
  // What Cairn has done before: the frozen files are there, and an empty active one.
  void Prepare(int active) const {
    for (int layer = 0; layer < active; ++layer) {
      std::filesystem::copy_file(volume_.Path(layer), moved_.Path(layer));
    }
    if (active == 0) {
      RunTool({"qemu-img", "create", "-q", "-f", FormatOf(volume_.Format(0)), moved_.Path(0),
               std::to_string(kDiskBytes)});
    } else {
      moved_.MakeLayer(active);
    }
  }
  static DiskMove Move(int active, FileFormat format = FileFormat::kQcow2) {
    DiskMove move;
    move.file = LayerName(active);
    move.format = format;
    return move;
  }
  static std::string Directory(Hypervisor& hypervisor, const DiskRef& disk) {
    const auto state = hypervisor.Look(disk);
    EXPECT_OK(state);
    return state.ok() ? state->directory : "";
  }

  TempDir dir_;
  TempDir target_;
  Volume volume_{dir_.path()};
  Volume moved_{target_.path()};
  const DiskRef disk_ = {"disk0", kVolume};
};

TEST_F(QmpMirrorTest, ADiskMovesUnderAWriter) {
  volume_.Make(2);
  Prepare(2);
  Machine machine = StorageDaemon({{"disk0", volume_.SlowBlockdevs(2, "disk0")}});
  auto hypervisor = machine.Connect();
  const auto mirror = [&](absl::Duration patience) {
    return hypervisor->Mirror(disk_, Move(2), target_.path(), kJob, patience);
  };
  ASSERT_OK_AND_ASSIGN(JobState state, mirror(absl::Milliseconds(20)));
  EXPECT_EQ(state.phase, Phase::kRunning);
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 3);
  EXPECT_EQ(Directory(*hypervisor, disk_), dir_.path());
  EXPECT_THAT(hypervisor->FinishMirror(disk_, Move(2), target_.path(), kJob),
              HasReasonOf(Reason::kHypervisorFailed));
  Hasten(machine);
  Writer writer(machine.nbd_socket(), "disk0");
  ASSERT_TRUE(writer.Progresses(20));
  // Found again by another connection.
  hypervisor.reset();
  hypervisor = machine.Connect();
  ASSERT_OK_AND_ASSIGN(state, mirror(kLong));
  EXPECT_EQ(state.phase, Phase::kReady);
  // Its writes wait, also for a server that was away meanwhile.
  hypervisor.reset();
  hypervisor = machine.Connect();
  ASSERT_OK(hypervisor->FinishMirror(disk_, Move(2), target_.path(), kJob));
  ASSERT_TRUE(writer.Progresses(20));
  EXPECT_EQ(Directory(*hypervisor, disk_), target_.path());
  EXPECT_TRUE(machine.Ask("query-jobs").empty());
  for (int layer = 0; layer <= 2; ++layer) {
    EXPECT_EQ(machine.NodesOf(volume_.Path(layer)), 0) << layer;
  }
  // Again: nothing happens.
  EXPECT_OK(hypervisor->FinishMirror(disk_, Move(2), target_.path(), kJob));
  ASSERT_OK_AND_ASSIGN(state, mirror(kLong));
  EXPECT_EQ(state.phase, Phase::kDone);
  // The old files are of no use to it; it goes on in the new place.
  for (int layer = 0; layer <= 2; ++layer) std::filesystem::remove(volume_.Path(layer));
  moved_.MakeLayer(3);
  ASSERT_OK(hypervisor->SwitchToLayers({{disk_, moved_.Switch(3)}}));
  LayerMerge merge;
  merge.top = LayerName(2);
  merge.base = merge.backing_after = LayerName(1);
  merge.backing_format_after = FileFormat::kQcow2;
  merge.rebased = LayerName(3);
  ASSERT_OK_AND_ASSIGN(state, hypervisor->Merge(disk_, merge, "merge", kLong));
  EXPECT_EQ(state.phase, Phase::kDone);
  EXPECT_EQ(machine.NodesOf(moved_.Path(2)), 0);
  ASSERT_TRUE(writer.Progresses(20));
  writer.Stop();
  EXPECT_EQ(writer.error(), "");
  machine.Kill();
  EXPECT_TRUE(moved_.Content(3) == writer.content());
  EXPECT_EQ(moved_.BackingOf(3), LayerName(1) + " qcow2");
  moved_.Check(3);
}

TEST_F(QmpMirrorTest, BothFilesHaveEverythingWhenItIsReady) {
  volume_.Make(1);
  Prepare(1);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(1, "disk0")}});
  auto hypervisor = machine.Connect();
  Writer writer(machine.nbd_socket(), "disk0");
  ASSERT_TRUE(writer.Progresses(20));
  ASSERT_OK_AND_ASSIGN(const JobState state,
                       hypervisor->Mirror(disk_, Move(1), target_.path(), kJob, kLong));
  EXPECT_EQ(state.phase, Phase::kReady);
  machine.Kill();
  writer.Stop();
  EXPECT_TRUE(moved_.Content(1) == writer.content());
  moved_.Check(1);
}

TEST_F(QmpMirrorTest, ADiskOfOneFileMoves) {
  volume_.Make(0);
  Prepare(0);
  // What stands in the target before is not what is there afterwards.
  QemuWrite(moved_.Path(0), FileFormat::kRaw, 8 << 20, 1 << 20, 0xee);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(0, "disk0")}});
  auto hypervisor = machine.Connect();
  EXPECT_THAT(hypervisor->Mirror(disk_, Move(0), target_.path(), kJob, kLong),
              HasReasonOf(Reason::kHypervisorMismatch));
  const DiskMove move = Move(0, FileFormat::kRaw);
  ASSERT_OK_AND_ASSIGN(const JobState state,
                       hypervisor->Mirror(disk_, move, target_.path(), kJob, kLong));
  EXPECT_EQ(state.phase, Phase::kReady);
  EXPECT_THAT(hypervisor->FinishMirror(disk_, move, target_.path(), "other"),
              HasReasonOf(Reason::kHypervisorMismatch));
  ASSERT_OK(hypervisor->FinishMirror(disk_, move, target_.path(), kJob));
  EXPECT_EQ(Directory(*hypervisor, disk_), target_.path());
  machine.Kill();
  EXPECT_TRUE(moved_.Content(0) == volume_.Content(0));
}

TEST_F(QmpMirrorTest, AMoveIsCancelledAndBegunAgain) {
  volume_.Make(1);
  Prepare(1);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(1, "disk0")}});
  auto hypervisor = machine.Connect();
  for (int i = 0; i < 2; ++i) {
    ASSERT_OK_AND_ASSIGN(const JobState state,
                         hypervisor->Mirror(disk_, Move(1), target_.path(), kJob, kLong));
    EXPECT_EQ(state.phase, Phase::kReady);
    ASSERT_OK(hypervisor->CancelJob(disk_, kJob));
    EXPECT_EQ(Directory(*hypervisor, disk_), dir_.path());
    EXPECT_TRUE(machine.Ask("query-jobs").empty());
    EXPECT_EQ(machine.NodesOf(moved_.Path(0)) + machine.NodesOf(moved_.Path(1)), 0);
    EXPECT_THAT(hypervisor->FinishMirror(disk_, Move(1), target_.path(), kJob),
                HasReasonOf(Reason::kHypervisorMismatch));
  }
  // Without its files it does not begin.
  std::filesystem::remove(moved_.Path(0));
  EXPECT_THAT(hypervisor->Mirror(disk_, Move(1), target_.path(), kJob, kLong),
              HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 2);
}

TEST_F(QmpMirrorTest, TheDiskOfAMachineMoves) {
  volume_.Make(1);
  Prepare(1);
  Machine machine("qemu-system-x86_64", {"-machine", "q35", "-drive",
                                         "format=qcow2,if=none,id=drive0,file=" + volume_.Path(1),
                                         "-device", "virtio-blk-pci,drive=drive0,id=virtio0"});
  auto hypervisor = machine.Connect();
  const DiskRef disk = {"virtio0", kVolume};
  ASSERT_OK_AND_ASSIGN(const JobState state,
                       hypervisor->Mirror(disk, Move(1), target_.path(), kJob, kLong));
  EXPECT_EQ(state.phase, Phase::kReady);
  ASSERT_OK(hypervisor->FinishMirror(disk, Move(1), target_.path(), kJob));
  EXPECT_EQ(Directory(*hypervisor, disk), target_.path());
  EXPECT_EQ(machine.NodesOf(volume_.Path(0)) + machine.NodesOf(volume_.Path(1)), 0);
}

TEST_F(QmpMirrorTest, ItsMachineDies) {
  volume_.Make(1);
  Prepare(1);
  const std::string content = volume_.Content(1);
  Machine machine = StorageDaemon({{"disk0", volume_.SlowBlockdevs(1, "disk0")}});
  auto hypervisor = machine.Connect();
  ASSERT_OK(hypervisor->Mirror(disk_, Move(1), target_.path(), kJob, absl::ZeroDuration()));
  machine.Kill();
  EXPECT_THAT(hypervisor->Mirror(disk_, Move(1), target_.path(), kJob, kLong),
              HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_THAT(hypervisor->FinishMirror(disk_, Move(1), target_.path(), kJob),
              HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_TRUE(volume_.Content(1) == content);
}

}  // namespace
}  // namespace cairn::testing
