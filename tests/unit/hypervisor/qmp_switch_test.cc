#include <fmt/format.h>
#include <signal.h>

#include <filesystem>
#include <future>
#include <string>

#include "lib/hypervisor/qmp_hypervisor.h"
#include "tests/support/matchers.h"
#include "tests/support/qemu.h"
#include "tests/unit/hypervisor/machine.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr char kOther[] = "0b0e3d1c-1111-4222-8333-444455556666";

class QmpSwitchTest : public ::testing::Test {
 protected:
  TempDir dir_;
  Volume volume_{dir_.path()};
  Volume other_{dir_.path(), kOther, FileFormat::kQcow2};
  const DiskRef disk_ = {"disk0", kVolume};
  const DiskRef other_disk_ = {"disk1", kOther};
};

TEST_F(QmpSwitchTest, ADiskSwitchesUnderAWriter) {
  volume_.Make(1);
  volume_.MakeLayer(2);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(1, "disk0")}});
  Writer writer(machine.nbd_socket(), "disk0");
  ASSERT_TRUE(writer.Progresses(20));
  auto hypervisor = machine.Connect();
  ASSERT_OK_AND_ASSIGN(const DiskState before, hypervisor->Look(disk_));
  EXPECT_EQ(before.directory, dir_.path());
  EXPECT_EQ(before.size_bytes, kDiskBytes);
  EXPECT_THAT(before.files, ElementsAre(LayerName(1), LayerName(0)));

  ASSERT_OK(hypervisor->SwitchToLayers({{disk_, volume_.Switch(2)}}));
  const std::string frozen = volume_.Content(1);
  ASSERT_TRUE(writer.Progresses(50));
  EXPECT_THAT(FilesOf(*hypervisor, disk_), ElementsAre(LayerName(2), LayerName(1), LayerName(0)));
  EXPECT_TRUE(volume_.Content(1) == frozen) << "a write went to the frozen layer";
  // Again: nothing happens. By each of its names.
  for (const char* name : {"disk0", "exp-disk0", "gone"}) {
    EXPECT_OK(hypervisor->SwitchToLayers({{{name, kVolume}, volume_.Switch(2)}}));
    EXPECT_EQ(FilesOf(*hypervisor, {name, kVolume}).size(), 3) << name;
  }
  // And the next one, on what the first one opened.
  volume_.MakeLayer(3);
  ASSERT_OK(hypervisor->SwitchToLayers({{disk_, volume_.Switch(3)}}));
  ASSERT_TRUE(writer.Progresses(50));
  writer.Stop();
  EXPECT_EQ(writer.error(), "");
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 4);
  machine.Kill();
  EXPECT_TRUE(volume_.Content(3) == writer.content());
  EXPECT_EQ(volume_.BackingOf(3), LayerName(2) + " qcow2");
  volume_.Check(3);
}

TEST_F(QmpSwitchTest, TwoDisksSwitchTogetherOrNotAtAll) {
  volume_.Make(0);
  other_.Make(1);
  volume_.MakeLayer(1);
  Machine machine = StorageDaemon(
      {{"disk0", volume_.Blockdev(0, "disk0")}, {"disk1", other_.Blockdev(1, "disk1")}});
  auto hypervisor = machine.Connect();
  const std::vector<Hypervisor::DiskSwitch> both = {{disk_, volume_.Switch(1)},
                                                    {other_disk_, other_.Switch(2)}};
  // The second one's layer is not there.
  const absl::Status missing = hypervisor->SwitchToLayers(both);
  EXPECT_THAT(missing, HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(Describe(missing), HasSubstr("No such file"));
  EXPECT_THAT(FilesOf(*hypervisor, disk_), ElementsAre(LayerName(0)));
  EXPECT_EQ(machine.NodesOf(volume_.Path(1)), 0) << "what was added is left";

  // The second one cannot be put on: somebody else takes the layer for a disk of another chain.
  other_.MakeLayer(2);
  ASSERT_FALSE(
      machine
          .Ask("blockdev-add", {{"driver", "qcow2"},
                                {"node-name", "theirs"},
                                {"file", {{"driver", "file"}, {"filename", other_.Path(2)}}},
                                {"backing", nullptr}})
          .is_null());
  EXPECT_THAT(hypervisor->SwitchToLayers(both), HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 1);
  EXPECT_EQ(FilesOf(*hypervisor, other_disk_).size(), 2);
  EXPECT_EQ(machine.NodesOf(volume_.Path(1)), 0);
  machine.Ask("blockdev-del", {{"node-name", "theirs"}});

  ASSERT_OK(hypervisor->SwitchToLayers(both));
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 2);
  EXPECT_EQ(FilesOf(*hypervisor, other_disk_).size(), 3);
  EXPECT_OK(hypervisor->SwitchToLayers(both));
  // One has switched, one has not: that is no instant.
  volume_.MakeLayer(2);
  EXPECT_THAT(
      hypervisor->SwitchToLayers({{disk_, volume_.Switch(2)}, {other_disk_, other_.Switch(2)}}),
      HasReasonOf(Reason::kHypervisorMismatch));
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 2);
}

TEST_F(QmpSwitchTest, WhatIsNotAsExpectedIsRefused) {
  volume_.Make(2);
  volume_.MakeLayer(3);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(1, "disk0")}});
  auto hypervisor = machine.Connect();
  const absl::Status wrong = hypervisor->SwitchToLayers({{disk_, volume_.Switch(3)}});
  EXPECT_THAT(wrong, HasReasonOf(Reason::kHypervisorMismatch));
  EXPECT_THAT(Describe(wrong), HasSubstr(LayerName(1) + " is active"));
  EXPECT_EQ(GetErrorDetails(wrong)->metadata.at("disk"), "disk0");
  EXPECT_THAT(hypervisor->SwitchToLayers({{{"disk7", kOther}, volume_.Switch(2)}}),
              HasReasonOf(Reason::kHypervisorMismatch));
  EXPECT_THAT(hypervisor->Look({"disk7", kOther}), HasReasonOf(Reason::kHypervisorMismatch));
  LayerSwitch quiesced = volume_.Switch(2);
  quiesced.quiesce = true;
  const absl::Status quiesce = hypervisor->SwitchToLayers({{disk_, quiesced}});
  EXPECT_THAT(quiesce, HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(Describe(quiesce), HasSubstr("libvirt"));
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 2);
  EXPECT_EQ(machine.NodesOf(volume_.Path(2)) + machine.NodesOf(volume_.Path(3)), 0);
}

TEST_F(QmpSwitchTest, ANodeLeftByAnInterruptedTryIsReplaced) {
  volume_.Make(0);
  volume_.MakeLayer(1);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(0, "disk0")}});
  auto hypervisor = machine.Connect();
  const std::string name = QmpNodeName(volume_.Path(1));
  ASSERT_LE(name.size(), 31);
  // As a raw file, so that using it as it is would show.
  ASSERT_FALSE(
      machine
          .Ask("blockdev-add", {{"driver", "raw"},
                                {"node-name", name},
                                {"file", {{"driver", "file"}, {"filename", volume_.Path(1)}}}})
          .is_null());
  ASSERT_OK(hypervisor->SwitchToLayers({{disk_, volume_.Switch(1)}}));
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 2);
}

TEST_F(QmpSwitchTest, OptionsAreTakenOverAndFiltersStayOnTop) {
  volume_.Make(1);
  volume_.MakeLayer(2);
  nlohmann::json options = volume_.Blockdev(1, "disk0");
  options["cache"] = {{"no-flush", true}};
  options["discard"] = "unmap";
  options["detect-zeroes"] = "unmap";
  std::vector<std::string> arguments = {
      "--blockdev", options.dump(), "--blockdev",
      R"({"driver": "copy-on-read", "node-name": "filter", "file": "disk0"})"};
  for (std::string& argument : NbdOf({"filter"})) arguments.push_back(std::move(argument));
  Machine machine("qemu-storage-daemon", std::move(arguments));
  auto hypervisor = machine.Connect();
  ASSERT_OK(hypervisor->SwitchToLayers({{disk_, volume_.Switch(2)}}));
  for (const char* name : {"disk0", "filter", "exp-filter"}) {
    EXPECT_EQ(FilesOf(*hypervisor, {name, ""}).size(), 3) << name;
  }
  for (const auto& node : machine.Ask("query-named-block-nodes", {{"flat", true}})) {
    if (node["node-name"] != QmpNodeName(volume_.Path(2))) continue;
    EXPECT_EQ(node["cache"]["no-flush"], true);
    EXPECT_EQ(node["detect_zeroes"], "unmap");
  }
}

TEST_F(QmpSwitchTest, TheDiskOfAMachineByAllItsNames) {
  volume_.Make(1);
  other_.Make(0);
  volume_.MakeLayer(2);
  other_.MakeLayer(1);
  Machine machine(
      "qemu-system-x86_64",
      {"-machine", "q35", "-drive",
       fmt::format("file={},format=qcow2,if=none,id=drive0,cache=none", volume_.Path(1)), "-device",
       "virtio-blk-pci,drive=drive0,id=virtio0", "-blockdev", other_.Blockdev(0, "disk1").dump(),
       "-device", "virtio-scsi-pci,id=scsi", "-device", "scsi-hd,drive=disk1,id=scsi-disk1"});
  auto hypervisor = machine.Connect();
  const DiskRef drive = {"drive0", kVolume};
  ASSERT_OK(hypervisor->SwitchToLayers(
      {{{"virtio0", kVolume}, volume_.Switch(2)}, {{"scsi-disk1", kOther}, other_.Switch(1)}}));
  for (const char* name :
       {"drive0", "virtio0", "/machine/peripheral/virtio0/virtio-backend", "gone"}) {
    EXPECT_THAT(FilesOf(*hypervisor, {name, kVolume}),
                ElementsAre(LayerName(2), LayerName(1), LayerName(0)))
        << name;
  }
  for (const char* name : {"disk1", "scsi-disk1"}) {
    EXPECT_THAT(FilesOf(*hypervisor, {name, kOther}),
                ElementsAre(LayerName(1, kOther), LayerName(0, kOther)))
        << name;
  }
  // A node of -drive has no owner: it goes with the file that leaves the chain.
  LayerMerge merge;
  merge.top = LayerName(1);
  merge.base = merge.backing_after = LayerName(0);
  merge.rebased = LayerName(2);
  ASSERT_OK_AND_ASSIGN(const JobState merged,
                       hypervisor->Merge(drive, merge, "merge-1", absl::Seconds(20)));
  EXPECT_EQ(merged.phase, JobState::Phase::kDone);
  EXPECT_EQ(machine.NodesOf(volume_.Path(1)), 0);
  EXPECT_EQ(volume_.BackingOf(2), LayerName(0) + " raw");

  ASSERT_OK(hypervisor->Resize(drive, {LayerName(2), 2 * kDiskBytes}));
  ASSERT_OK_AND_ASSIGN(const DiskState larger, hypervisor->Look(drive));
  EXPECT_EQ(larger.size_bytes, 2 * kDiskBytes);
}

TEST_F(QmpSwitchTest, ResizeOnlyGrows) {
  volume_.Make(1);
  // An NBD export of QEMU 7.2 does not let its disk grow: the size is its clients'.
  {
    Machine exported = StorageDaemon({{"disk0", volume_.Blockdev(1, "disk0")}});
    EXPECT_THAT(exported.Connect()->Resize(disk_, {LayerName(1), 2 * kDiskBytes}),
                HasReasonOf(Reason::kHypervisorFailed));
  }
  Machine machine("qemu-storage-daemon",
                  {"--blockdev", volume_.Blockdev(1, "disk0").dump(), "--blockdev",
                   R"({"driver": "copy-on-read", "node-name": "filter", "file": "disk0"})"});
  auto hypervisor = machine.Connect();
  ASSERT_OK(hypervisor->Resize(disk_, {LayerName(1), kDiskBytes}));
  EXPECT_THAT(hypervisor->Resize(disk_, {LayerName(1), kDiskBytes - 512}),
              HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(hypervisor->Resize(disk_, {LayerName(0), 2 * kDiskBytes}),
              HasReasonOf(Reason::kHypervisorMismatch));
  ASSERT_OK(hypervisor->Resize(disk_, {LayerName(1), 2 * kDiskBytes}));
  ASSERT_OK(hypervisor->Resize(disk_, {LayerName(1), 2 * kDiskBytes}));
  ASSERT_OK_AND_ASSIGN(const DiskState state, hypervisor->Look(disk_));
  EXPECT_EQ(state.size_bytes, 2 * kDiskBytes);
}

TEST_F(QmpSwitchTest, AFileByARelativeNameIsRefused) {
  volume_.Make(0);
  nlohmann::json options = volume_.Blockdev(0, "disk0");
  options["file"]["filename"] =
      std::filesystem::relative(volume_.Path(0), std::filesystem::current_path()).string();
  Machine machine = StorageDaemon({{"disk0", options}});
  EXPECT_THAT(machine.Connect()->Look(disk_), HasReasonOf(Reason::kHypervisorMismatch));
}

TEST_F(QmpSwitchTest, OneClientAtATimeIsServed) {
  volume_.Make(0);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(0, "disk0")}});
  auto first = machine.Connect();
  HypervisorAddress address = {HypervisorAddress::Kind::kQmp, machine.qmp_address(), "", "disk0"};
  const HypervisorOptions impatient = {.connect_timeout = absl::Milliseconds(100)};
  // Whether it is heard late or not even taken.
  std::vector<absl::Status> refused;
  for (int i = 0; i < 4; ++i) {
    refused.push_back(ConnectHypervisor(address, impatient).status());
    EXPECT_THAT(refused.back(), HasReasonOf(Reason::kHypervisorUnavailable));
    EXPECT_FALSE(GetErrorDetails(refused.back())->metadata.contains("gone"));
  }
  first.reset();
  auto second = machine.Connect();
  EXPECT_EQ(FilesOf(*second, disk_).size(), 1);
}

TEST_F(QmpSwitchTest, AnAnswerThatComesLate) {
  volume_.Make(0);
  volume_.MakeLayer(1);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(0, "disk0")}});
  auto hypervisor = machine.Connect({.answer_timeout = absl::Milliseconds(200)});
  kill(machine.pid(), SIGSTOP);
  EXPECT_THAT(hypervisor->SwitchToLayers({{disk_, volume_.Switch(1)}}),
              HasReasonOf(Reason::kHypervisorUnavailable));
  kill(machine.pid(), SIGCONT);
  // Of no use any more; a new connection tells the truth, and the switch can be repeated.
  EXPECT_THAT(hypervisor->Look(disk_), HasReasonOf(Reason::kHypervisorUnavailable));
  hypervisor = machine.Connect();
  EXPECT_OK(hypervisor->SwitchToLayers({{disk_, volume_.Switch(1)}}));
  EXPECT_EQ(FilesOf(*hypervisor, disk_).size(), 2);
}

TEST_F(QmpSwitchTest, AMachineThatDiesMeanwhile) {
  volume_.Make(0);
  volume_.MakeLayer(1);
  Machine machine = StorageDaemon({{"disk0", volume_.Blockdev(0, "disk0")}});
  auto hypervisor = machine.Connect();
  kill(machine.pid(), SIGSTOP);
  auto switched = std::async(std::launch::async, [&] {
    return hypervisor->SwitchToLayers({{disk_, volume_.Switch(1)}});
  });
  EXPECT_EQ(switched.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  machine.Kill();
  EXPECT_THAT(switched.get(), HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_THAT(hypervisor->Resize(disk_, {LayerName(0), 2 * kDiskBytes}),
              HasReasonOf(Reason::kHypervisorUnavailable));
  const auto gone =
      ConnectHypervisor({HypervisorAddress::Kind::kQmp, machine.qmp_address(), "", "disk0"}, {});
  EXPECT_THAT(gone, HasReasonOf(Reason::kHypervisorUnavailable));
  EXPECT_EQ(GetErrorDetails(gone.status())->metadata.at("gone"), "true");
}

}  // namespace
}  // namespace cairn::testing
