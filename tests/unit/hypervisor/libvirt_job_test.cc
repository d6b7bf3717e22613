// Merging layers and moving disks, with a real libvirtd.
#include <gtest/gtest.h>

#include "tests/unit/hypervisor/libvirt_fixture.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;
using Phase = JobState::Phase;

class LibvirtJobTest : public LibvirtTest {
 protected:
  // base (raw) <- l1 <- l2 <- l3: MiB 0 is written in each, MiB n in the n-th.
  void BuildChain(Hypervisor& hypervisor) {
    machine_->Write(0, 0, kMiB, 10);
    SwitchTo(hypervisor, "l1", "base", FileFormat::kRaw);
    machine_->Write(0, 0, 2 * kMiB, 11);
    SwitchTo(hypervisor, "l2", "l1");
    machine_->Write(0, 0, kMiB, 12);
    machine_->Write(0, 2 * kMiB, kMiB, 12);
    SwitchTo(hypervisor, "l3", "l2");
    machine_->Write(0, 3 * kMiB, kMiB, 13);
  }
  void StartWithChain() {
    MakeBase("base", FileFormat::kRaw);
    StartMachine({{Path("base"), FileFormat::kRaw}});
    hypervisor_ = Connect();
    BuildChain(*hypervisor_);
    ASSERT_THAT(Files(*hypervisor_, kVda), ElementsAre("l3", "l2", "l1", "base"));
  }
  // What the guest of BuildChain sees.
  void ExpectContent(const std::string& directory, const std::string& active) const {
    const std::string path = directory + "/" + active;
    EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, 0, kMiB, 12));
    EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, kMiB, kMiB, 11));
    EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, 2 * kMiB, kMiB, 12));
    EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, 3 * kMiB, kMiB, 13));
    EXPECT_TRUE(QemuCheck(path));
  }

  const LayerMerge kCommitMiddle{MergeDirection::kCommit, "l2", "l1", "l3", "l1",
                                 FileFormat::kQcow2};
  const LayerMerge kCommitToBase{MergeDirection::kCommit, "l1", "base", "l2", "base",
                                 FileFormat::kRaw};
  const LayerMerge kStreamUpper{MergeDirection::kStream, "l3", "l2", "l3", "l1",
                                FileFormat::kQcow2};
  std::unique_ptr<Hypervisor> hypervisor_;
};

TEST_F(LibvirtJobTest, CommitsAMiddleLayer) {
  StartWithChain();
  ASSERT_OK_AND_ASSIGN(JobState job, hypervisor_->Merge(kVda, kCommitMiddle, "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
  EXPECT_THAT(Files(*hypervisor_, kVda), ElementsAre("l3", "l1", "base"));
  ExpectBacking("l3", "l1", FileFormat::kQcow2);
  EXPECT_THAT(machine_->OpenFiles(share_.path()), UnorderedElementsAre("l3", "l1", "base"));
  ASSERT_OK_AND_ASSIGN(job, hypervisor_->Merge(kVda, kCommitMiddle, "job-1", absl::ZeroDuration()));
  EXPECT_EQ(job.phase, Phase::kDone);

  machine_->Kill();
  std::filesystem::remove(Path("l2"));
  ExpectContent(share_.path(), "l3");
}

TEST_F(LibvirtJobTest, CommitsIntoARawBase) {
  StartWithChain();
  ASSERT_OK_AND_ASSIGN(JobState job, hypervisor_->Merge(kVda, kCommitToBase, "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
  EXPECT_THAT(Files(*hypervisor_, kVda), ElementsAre("l3", "l2", "base"));
  ExpectBacking("l2", "base", FileFormat::kRaw);
  ExpectBacking("l3", "l2", FileFormat::kQcow2);
  machine_->Kill();
  std::filesystem::remove(Path("l1"));
  ExpectContent(share_.path(), "l3");
  EXPECT_TRUE(QemuReads(Path("base"), FileFormat::kRaw, 0, 2 * kMiB, 11));
}

TEST_F(LibvirtJobTest, CommitsInADomainThatNamesItsWholeChain) {
  MakeBase("base", FileFormat::kRaw);
  MakeLayer("l1", "base", FileFormat::kRaw);
  MakeLayer("l2", "l1");
  MakeLayer("l3", "l2");
  StartMachine({{Path("l3"), FileFormat::kQcow2,
                 fmt::format("<backingStore type='file'><format type='qcow2'/><source file='{}'/>"
                             "<backingStore type='file'><format type='qcow2'/><source file='{}'/>"
                             "<backingStore type='file'><format type='raw'/><source file='{}'/>"
                             "<backingStore/></backingStore></backingStore></backingStore>",
                             Path("l2"), Path("l1"), Path("base"))}});
  auto hypervisor = Connect();
  ASSERT_OK_AND_ASSIGN(JobState job, hypervisor->Merge(kVda, kCommitMiddle, "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("l3", "l1", "base"));
  ExpectBacking("l3", "l1", FileFormat::kQcow2);
}

TEST_F(LibvirtJobTest, StreamsUpWithABaseBelow) {
  StartWithChain();
  ASSERT_OK_AND_ASSIGN(JobState job, hypervisor_->Merge(kVda, kStreamUpper, "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
  EXPECT_THAT(Files(*hypervisor_, kVda), ElementsAre("l3", "l1", "base"));
  ExpectBacking("l3", "l1", FileFormat::kQcow2);
  EXPECT_THAT(machine_->OpenFiles(share_.path()), UnorderedElementsAre("l3", "l1", "base"));

  // And on down to a raw file.
  const LayerMerge next{MergeDirection::kStream, "l3", "l1", "l3", "base", FileFormat::kRaw};
  ASSERT_OK_AND_ASSIGN(job, hypervisor_->Merge(kVda, next, "job-2", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
  ExpectBacking("l3", "base", FileFormat::kRaw);
  machine_->Kill();
  std::filesystem::remove(Path("l1"));
  std::filesystem::remove(Path("l2"));
  ExpectContent(share_.path(), "l3");
}

TEST_F(LibvirtJobTest, StreamsUpTheBase) {
  MakeBase("base");
  StartMachine({{Path("base")}});
  auto hypervisor = Connect();
  machine_->Write(0, 0, 4 * kMiB, 1);
  SwitchTo(*hypervisor, "layer", "base");
  machine_->Write(0, 0, kMiB, 2);
  const LayerMerge merge{MergeDirection::kStream, "layer", "base", "layer", "", FileFormat::kRaw};
  ASSERT_OK_AND_ASSIGN(JobState job, hypervisor->Merge(kVda, merge, "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("layer"));
  ExpectBacking("layer", "", FileFormat::kRaw);
  EXPECT_THAT(machine_->OpenFiles(share_.path()), UnorderedElementsAre("layer"));
  machine_->Kill();
  std::filesystem::remove(Path("base"));
  EXPECT_TRUE(QemuReads(Path("layer"), FileFormat::kQcow2, 0, kMiB, 2));
  EXPECT_TRUE(QemuReads(Path("layer"), FileFormat::kQcow2, kMiB, 3 * kMiB, 1));
}

TEST_F(LibvirtJobTest, StreamsIntoTheActiveFileOnly) {
  StartWithChain();
  const LayerMerge merge{MergeDirection::kStream, "l2", "l1", "l2", "base", FileFormat::kRaw};
  absl::Status status = hypervisor_->Merge(kVda, merge, "job-1", kLong).status();
  EXPECT_THAT(status, HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(Files(*hypervisor_, kVda), ElementsAre("l3", "l2", "l1", "base"));
}

TEST_F(LibvirtJobTest, RefusesAChainThatIsNotTheOneMeant) {
  StartWithChain();
  LayerMerge merge = kCommitMiddle;
  merge.base = merge.backing_after = "base";
  EXPECT_THAT(hypervisor_->Merge(kVda, merge, "job-1", kLong),
              HasReasonOf(Reason::kHypervisorMismatch));
  merge = kCommitMiddle;
  merge.rebased = "l4";
  EXPECT_THAT(hypervisor_->Merge(kVda, merge, "job-1", kLong),
              HasReasonOf(Reason::kHypervisorMismatch));
  EXPECT_THAT(Files(*hypervisor_, kVda), ElementsAre("l3", "l2", "l1", "base"));
}

TEST_F(LibvirtJobTest, TakesARunningJobForItsOwnAndCancelsIt) {
  StartWithChain();
  // libvirt streams so slowly that only a cancel ends it.
  libvirtd_->Virsh({"blockpull", machine_->name(), "vda", "--base", Path("l1"), "--keep-relative",
                    "--bandwidth", "1", "--bytes"});
  ASSERT_OK_AND_ASSIGN(JobState job,
                       hypervisor_->Merge(kVda, kStreamUpper, "job-1", absl::Milliseconds(50)));
  EXPECT_EQ(job.phase, Phase::kRunning);
  EXPECT_GT(job.total_bytes, 0);

  // It is in the way of all others.
  absl::Status status = hypervisor_->Merge(kVda, kCommitMiddle, "job-2", kLong).status();
  EXPECT_THAT(status, HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(std::string(status.message()), HasSubstr("block pull"));

  ASSERT_OK(hypervisor_->CancelJob(kVda, "job-1"));
  ASSERT_OK(hypervisor_->CancelJob(kVda, "job-1"));
  EXPECT_THAT(Files(*hypervisor_, kVda), ElementsAre("l3", "l2", "l1", "base"));
  ExpectBacking("l3", "l2", FileFormat::kQcow2);

  // After a cancel it begins anew.
  ASSERT_OK_AND_ASSIGN(job, hypervisor_->Merge(kVda, kStreamUpper, "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
  machine_->Kill();
  ExpectContent(share_.path(), "l3");
}

TEST_F(LibvirtJobTest, SaysOnceThatAJobEndedUndone) {
  StartWithChain();
  libvirtd_->Virsh({"blockpull", machine_->name(), "vda", "--base", Path("l1"), "--keep-relative",
                    "--bandwidth", "1", "--bytes"});
  ASSERT_OK_AND_ASSIGN(JobState job,
                       hypervisor_->Merge(kVda, kStreamUpper, "job-1", absl::ZeroDuration()));
  ASSERT_EQ(job.phase, Phase::kRunning);
  libvirtd_->Virsh({"blockjob", machine_->name(), "vda", "--abort"});
  EXPECT_THAT(hypervisor_->Merge(kVda, kStreamUpper, "job-1", kLong),
              HasReasonOf(Reason::kHypervisorFailed));
  ASSERT_OK_AND_ASSIGN(job, hypervisor_->Merge(kVda, kStreamUpper, "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
}

TEST_F(LibvirtJobTest, AnotherConnectionFindsTheJob) {
  StartWithChain();
  libvirtd_->Virsh({"blockpull", machine_->name(), "vda", "--base", Path("l1"), "--keep-relative",
                    "--bandwidth", "1", "--bytes"});
  ASSERT_OK(hypervisor_->Merge(kVda, kStreamUpper, "job-1", absl::ZeroDuration()));
  hypervisor_ = Connect();
  ASSERT_OK_AND_ASSIGN(JobState job,
                       hypervisor_->Merge(kVda, kStreamUpper, "job-1", absl::ZeroDuration()));
  EXPECT_EQ(job.phase, Phase::kRunning);
  // Full speed from here.
  libvirtd_->Virsh({"blockjob", machine_->name(), "vda", "--bandwidth", "0"});
  ASSERT_OK_AND_ASSIGN(job, hypervisor_->Merge(kVda, kStreamUpper, "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
}

TEST_F(LibvirtJobTest, AMachineThatEndsInTheMiddleIsGone) {
  StartWithChain();
  libvirtd_->Virsh({"blockpull", machine_->name(), "vda", "--base", Path("l1"), "--keep-relative",
                    "--bandwidth", "1", "--bytes"});
  ASSERT_OK(hypervisor_->Merge(kVda, kStreamUpper, "job-1", absl::ZeroDuration()));
  machine_->Flush(0);
  machine_->Kill();
  ExpectGoneSoon([&] {
    return hypervisor_->Merge(kVda, kStreamUpper, "job-1", absl::ZeroDuration()).status();
  });
  absl::Status status = hypervisor_->CancelJob(kVda, "job-1");
  EXPECT_TRUE(IsGone(status)) << Describe(status);
  ExpectBacking("l3", "l2", FileFormat::kQcow2);
  ExpectContent(share_.path(), "l3");
}

class LibvirtMirrorTest : public LibvirtJobTest {
 protected:
  // The files below are there already; the active one's counterpart is empty.
  void PrepareTarget() {
    for (const char* name : {"base", "l1", "l2"}) {
      std::filesystem::copy_file(Path(name), target_.File(name));
    }
    MakeLayerIn(target_.path());
  }
  void MakeLayerIn(const std::string& directory) {
    RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-b", "l2", "-F", "qcow2",
             directory + "/l3", std::to_string(kDiskSize)});
  }

  const DiskMove kMove{"l3", FileFormat::kQcow2, "share-2"};
  TempDir target_;
};

TEST_F(LibvirtMirrorTest, MovesWithWritesMeanwhile) {
  StartWithChain();
  PrepareTarget();
  ASSERT_OK_AND_ASSIGN(JobState job,
                       hypervisor_->Mirror(kVda, kMove, target_.path(), "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kReady);
  EXPECT_GT(job.total_bytes, 0);
  EXPECT_THAT(Files(*hypervisor_, kVda), ElementsAre("l3", "l2", "l1", "base"));
  machine_->Write(0, 4 * kMiB, kMiB, 20);
  ASSERT_OK_AND_ASSIGN(
      job, hypervisor_->Mirror(kVda, kMove, target_.path(), "job-1", absl::ZeroDuration()));
  EXPECT_EQ(job.phase, Phase::kReady);
  ASSERT_OK(hypervisor_->FinishMirror(kVda, kMove, target_.path(), "job-1"));
  ASSERT_OK(hypervisor_->FinishMirror(kVda, kMove, target_.path(), "job-1"));
  ASSERT_OK_AND_ASSIGN(DiskState state, hypervisor_->Look(kVda));
  EXPECT_EQ(state.directory, target_.path());
  EXPECT_THAT(state.files, ElementsAre("l3", "l2", "l1", "base"));
  EXPECT_THAT(machine_->OpenFiles(share_.path()), ElementsAre());
  EXPECT_THAT(machine_->OpenFiles(target_.path()), UnorderedElementsAre("l3", "l2", "l1", "base"));
  ASSERT_OK_AND_ASSIGN(
      job, hypervisor_->Mirror(kVda, kMove, target_.path(), "job-1", absl::ZeroDuration()));
  EXPECT_EQ(job.phase, Phase::kDone);

  // What was moved can be worked with as before.
  machine_->Write(0, 5 * kMiB, kMiB, 21);
  ASSERT_OK_AND_ASSIGN(job, hypervisor_->Merge(kVda, kCommitMiddle, "job-2", kLong));
  EXPECT_EQ(job.phase, Phase::kDone);
  machine_->Kill();
  ExpectContent(target_.path(), "l3");
  EXPECT_TRUE(QemuReads(target_.File("l3"), FileFormat::kQcow2, 4 * kMiB, kMiB, 20));
  EXPECT_TRUE(QemuReads(target_.File("l3"), FileFormat::kQcow2, 5 * kMiB, kMiB, 21));
}

TEST_F(LibvirtMirrorTest, SmallWritesMeanwhileKeepWhatIsAroundThem) {
  StartWithChain();
  PrepareTarget();
  libvirtd_->Virsh({"resume", machine_->name()});
  ASSERT_OK(hypervisor_->Mirror(kVda, kMove, target_.path(), "job-1", kLong));
  constexpr int64_t kSmall = 4096;
  machine_->Write(0, kMiB + kSmall, kSmall, 20);  // a part of a cluster that l1 has, and not l3
  ASSERT_OK(hypervisor_->FinishMirror(kVda, kMove, target_.path(), "job-1"));
  EXPECT_EQ(libvirtd_->Virsh({"domstate", machine_->name()}), "running\n");
  machine_->Kill();
  const std::string path = target_.File("l3");
  EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, kMiB, kSmall, 11));
  EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, kMiB + kSmall, kSmall, 20));
  EXPECT_TRUE(QemuReads(path, FileFormat::kQcow2, kMiB + 2 * kSmall, kMiB - 2 * kSmall, 11));
}

TEST_F(LibvirtMirrorTest, AGuestThatIsPausedStaysPaused) {
  StartWithChain();
  PrepareTarget();
  ASSERT_EQ(libvirtd_->Virsh({"domstate", machine_->name()}), "paused\n");
  ASSERT_OK(hypervisor_->Mirror(kVda, kMove, target_.path(), "job-1", kLong));
  ASSERT_OK(hypervisor_->FinishMirror(kVda, kMove, target_.path(), "job-1"));
  EXPECT_EQ(libvirtd_->Virsh({"domstate", machine_->name()}), "paused\n");
}

TEST_F(LibvirtMirrorTest, AGuestThatWasHeldIsReleasedByWhoeverComesNext) {
  StartWithChain();
  PrepareTarget();
  const auto leave_held = [&] {
    libvirtd_->Virsh({"metadata", machine_->name(), "--live", "--uri", "urn:cairn:held", "--key",
                      "cairn", "--set", "<held/>"});
    libvirtd_->Virsh({"suspend", machine_->name()});
  };
  ASSERT_OK(hypervisor_->Mirror(kVda, kMove, target_.path(), "job-1", kLong));
  leave_held();
  ASSERT_OK(Connect()->CancelJob(kVda, "job-1"));
  EXPECT_EQ(libvirtd_->Virsh({"domstate", machine_->name()}), "running\n");
  MakeLayerIn(target_.path());
  ASSERT_OK(hypervisor_->Mirror(kVda, kMove, target_.path(), "job-2", kLong));
  leave_held();
  ASSERT_OK(Connect()->FinishMirror(kVda, kMove, target_.path(), "job-2"));
  EXPECT_EQ(libvirtd_->Virsh({"domstate", machine_->name()}), "running\n");
  leave_held();
  ASSERT_OK(Connect()->FinishMirror(kVda, kMove, target_.path(), "job-2"));
  EXPECT_EQ(libvirtd_->Virsh({"domstate", machine_->name()}), "running\n");
  libvirtd_->Virsh({"suspend", machine_->name()});
  ASSERT_OK(Connect()->FinishMirror(kVda, kMove, target_.path(), "job-2"));
  EXPECT_EQ(libvirtd_->Virsh({"domstate", machine_->name()}), "paused\n");
}

TEST_F(LibvirtMirrorTest, WhatHasMovedIsSafeWithoutAFlushOfTheGuests) {
  StartWithChain();
  PrepareTarget();
  ASSERT_OK(hypervisor_->Mirror(kVda, kMove, target_.path(), "job-1", kLong));
  ASSERT_OK(hypervisor_->FinishMirror(kVda, kMove, target_.path(), "job-1"));
  machine_->Kill();
  std::filesystem::remove(Path("l3"));
  ExpectContent(target_.path(), "l3");
}

TEST_F(LibvirtMirrorTest, MovesARawDiskOfADefinedDomain) {
  MakeBase("base", FileFormat::kRaw);
  StartMachine({{Path("base"), FileFormat::kRaw}}, /*defined=*/true);
  auto hypervisor = Connect();
  machine_->Write(0, 0, kMiB, 1);
  RunTool(
      {"qemu-img", "create", "-q", "-f", "raw", target_.File("base"), std::to_string(kDiskSize)});
  const DiskMove move{"base", FileFormat::kRaw, "share-2"};
  ASSERT_OK_AND_ASSIGN(JobState job,
                       hypervisor->Mirror(kVda, move, target_.path(), "job-1", kLong));
  EXPECT_EQ(job.phase, Phase::kReady);
  ASSERT_OK(hypervisor->FinishMirror(kVda, move, target_.path(), "job-1"));
  machine_->Kill();
  EXPECT_TRUE(QemuReads(target_.File("base"), FileFormat::kRaw, 0, kMiB, 1));
  ExpectGoneSoon([&] { return hypervisor->Look(kVda).status(); });
  libvirtd_->Virsh({"undefine", machine_->name()});
}

TEST_F(LibvirtMirrorTest, ACancelledMoveLeavesTheDiskWhereItIs) {
  StartWithChain();
  PrepareTarget();
  EXPECT_THAT(hypervisor_->FinishMirror(kVda, kMove, target_.path(), "job-1"),
              HasReasonOf(Reason::kHypervisorMismatch));
  ASSERT_OK(hypervisor_->Mirror(kVda, kMove, target_.path(), "job-1", kLong));
  // Another target is another job.
  EXPECT_THAT(hypervisor_->Mirror(kVda, kMove, "/elsewhere", "job-2", kLong),
              HasReasonOf(Reason::kHypervisorFailed));
  ASSERT_OK(hypervisor_->CancelJob(kVda, "job-1"));
  EXPECT_THAT(hypervisor_->FinishMirror(kVda, kMove, target_.path(), "job-1"),
              HasReasonOf(Reason::kHypervisorMismatch));
  EXPECT_THAT(machine_->OpenFiles(target_.path()), ElementsAre());
  ASSERT_OK_AND_ASSIGN(DiskState state, hypervisor_->Look(kVda));
  EXPECT_EQ(state.directory, share_.path());
  machine_->Kill();
  ExpectContent(share_.path(), "l3");
}

}  // namespace
}  // namespace cairn::testing
