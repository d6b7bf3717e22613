// Looking at disks, switching them to new layers, resizing them, with a real libvirtd.
#include <gtest/gtest.h>

#include "tests/unit/hypervisor/libvirt_fixture.h"

namespace cairn::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

class LibvirtSwitchTest : public LibvirtTest {};

TEST_F(LibvirtSwitchTest, LooksAtTheWholeChain) {
  MakeBase("base", FileFormat::kRaw);
  MakeLayer("layer", "base", FileFormat::kRaw);
  StartMachine({{Path("layer")}});
  auto hypervisor = Connect();
  ASSERT_OK_AND_ASSIGN(DiskState state, hypervisor->Look(kVda));
  EXPECT_EQ(state.directory, share_.path());
  EXPECT_THAT(state.files, ElementsAre("layer", "base"));
  EXPECT_EQ(state.size_bytes, kDiskSize);

  EXPECT_THAT(hypervisor->Look({"vdz", ""}), HasReasonOf(Reason::kHypervisorMismatch));
  // An empty drive.
  EXPECT_THAT(hypervisor->Look({"sda", ""}), HasReasonOf(Reason::kHypervisorMismatch));
}

TEST_F(LibvirtSwitchTest, FindsADomainByItsUuid) {
  MakeBase("base");
  StartMachine({{Path("base")}});
  HypervisorAddress address = Address();
  address.domain = libvirtd_->Virsh({"domuuid", machine_->name()}).substr(0, 36);
  ASSERT_OK_AND_ASSIGN(auto hypervisor, ConnectLibvirt(address, {}));
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("base"));
}

TEST_F(LibvirtSwitchTest, SwitchesOneDisk) {
  MakeBase("base", FileFormat::kRaw);
  StartMachine({{Path("base"), FileFormat::kRaw}});
  auto hypervisor = Connect();
  machine_->Write(0, 0, kMiB, 1);
  MakeLayer("layer", "base", FileFormat::kRaw);
  const std::string header = ReadFile(Path("layer")).substr(0, 65536);
  ASSERT_OK(
      hypervisor->SwitchToLayers({{kVda, {"layer", "base", FileFormat::kRaw, /*quiesce=*/false}}}));
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("layer", "base"));
  ExpectBacking("layer", "base", FileFormat::kRaw);
  EXPECT_EQ(ReadFile(Path("layer")).substr(0, 65536), header) << "the header was rewritten";

  // What was written before the switch is safe without a flush of the guest's.
  machine_->Write(0, kMiB, kMiB, 2);
  machine_->Flush(0);
  machine_->Kill();
  EXPECT_TRUE(QemuReads(Path("base"), FileFormat::kRaw, 0, kMiB, 1));
  EXPECT_TRUE(QemuReads(Path("base"), FileFormat::kRaw, kMiB, kMiB, 0));
  EXPECT_TRUE(QemuReads(Path("layer"), FileFormat::kQcow2, 0, kMiB, 1));
  EXPECT_TRUE(QemuReads(Path("layer"), FileFormat::kQcow2, kMiB, kMiB, 2));
  EXPECT_TRUE(QemuCheck(Path("layer")));
}

TEST_F(LibvirtSwitchTest, ASwitchCanBeRepeated) {
  MakeBase("base");
  StartMachine({{Path("base")}});
  auto hypervisor = Connect();
  SwitchTo(*hypervisor, "layer", "base");
  EXPECT_OK(hypervisor->SwitchToLayers({{kVda, {"layer", "base", FileFormat::kQcow2, false}}}));
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("layer", "base"));
}

TEST_F(LibvirtSwitchTest, RefusesWhenAnotherFileIsActive) {
  MakeBase("base");
  MakeBase("other");
  MakeLayer("layer", "base");
  StartMachine({{Path("other")}});
  auto hypervisor = Connect();
  absl::Status status =
      hypervisor->SwitchToLayers({{kVda, {"layer", "base", FileFormat::kQcow2, false}}});
  EXPECT_THAT(status, HasReasonOf(Reason::kHypervisorMismatch));
  EXPECT_THAT(std::string(status.message()), HasSubstr("other"));
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("other"));
}

TEST_F(LibvirtSwitchTest, SwitchesTwoDisksInOneCallOrNone) {
  MakeBase("a");
  MakeBase("b");
  MakeLayer("a1", "a");
  MakeLayer("b1", "b");
  StartMachine({{Path("a")}, {Path("b")}});
  auto hypervisor = Connect();
  const DiskRef vdb{"vdb", "volume-2"};
  const LayerSwitch a1{"a1", "a", FileFormat::kQcow2, false};

  // The second one's layer is missing: the first one is not switched either.
  EXPECT_THAT(
      hypervisor->SwitchToLayers({{kVda, a1}, {vdb, {"missing", "b", FileFormat::kQcow2, false}}}),
      HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("a"));
  EXPECT_THAT(Files(*hypervisor, vdb), ElementsAre("b"));

  const LayerSwitch b1{"b1", "b", FileFormat::kQcow2, false};
  ASSERT_OK(hypervisor->SwitchToLayers({{kVda, a1}, {vdb, b1}}));
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("a1", "a"));
  EXPECT_THAT(Files(*hypervisor, vdb), ElementsAre("b1", "b"));
  EXPECT_OK(hypervisor->SwitchToLayers({{kVda, a1}, {vdb, b1}}));

  // One disk alone leaves the other as it is.
  MakeLayer("b2", "b1");
  const LayerSwitch b2{"b2", "b1", FileFormat::kQcow2, false};
  ASSERT_OK(hypervisor->SwitchToLayers({{vdb, b2}}));
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("a1", "a"));
  EXPECT_THAT(Files(*hypervisor, vdb), ElementsAre("b2", "b1", "b"));

  // One is there already, so the two can no longer be of one instant.
  MakeLayer("a2", "a1");
  EXPECT_THAT(
      hypervisor->SwitchToLayers({{kVda, {"a2", "a1", FileFormat::kQcow2, false}}, {vdb, b2}}),
      HasReasonOf(Reason::kHypervisorMismatch));
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("a1", "a"));
}

TEST_F(LibvirtSwitchTest, DoesNotSwitchWhatItCannotQuiesce) {
  MakeBase("base");
  MakeLayer("layer", "base");
  StartMachine({{Path("base")}});
  libvirtd_->Virsh({"resume", machine_->name()});
  auto hypervisor = Connect();
  absl::Status status =
      hypervisor->SwitchToLayers({{kVda, {"layer", "base", FileFormat::kQcow2, /*quiesce=*/true}}});
  EXPECT_THAT(status, HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(std::string(status.message()), HasSubstr("agent"));
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("base"));
  EXPECT_THAT(machine_->OpenFiles(share_.path()), UnorderedElementsAre("base"));
}

TEST_F(LibvirtSwitchTest, ADefinedDomainStartsAgainAfterTheFileBelowHasBeenMerged) {
  MakeBase("base");
  StartMachine({{Path("base")}}, /*defined=*/true);
  auto hypervisor = Connect();
  SwitchTo(*hypervisor, "l1", "base");
  machine_->Write(0, 0, kMiB, 1);
  SwitchTo(*hypervisor, "l2", "l1");
  machine_->Kill();
  ExpectGoneSoon([&] { return hypervisor->Look(kVda).status(); });

  // As Cairn does while nobody has it open.
  RunTool({"qemu-img", "commit", "-q", "-d", "-f", "qcow2", "-b", Path("base"), Path("l1")});
  RunTool({"qemu-img", "rebase", "-u", "-f", "qcow2", "-b", "base", "-F", "qcow2", Path("l2")});
  std::filesystem::remove(Path("l1"));
  libvirtd_->Virsh({"start", "--paused", machine_->name()});
  EXPECT_THAT(Files(*hypervisor, kVda), ElementsAre("l2", "base"));
  libvirtd_->Virsh({"undefine", machine_->name()});
  libvirtd_->Virsh({"destroy", machine_->name()});
  EXPECT_TRUE(QemuReads(Path("l2"), FileFormat::kQcow2, 0, kMiB, 1));
}

TEST_F(LibvirtSwitchTest, ResizesUpward) {
  MakeBase("base");
  StartMachine({{Path("base")}});
  auto hypervisor = Connect();
  EXPECT_OK(hypervisor->Resize(kVda, {"base", kDiskSize}));
  ASSERT_OK(hypervisor->Resize(kVda, {"base", 2 * kDiskSize}));
  ASSERT_OK_AND_ASSIGN(DiskState state, hypervisor->Look(kVda));
  EXPECT_EQ(state.size_bytes, 2 * kDiskSize);
  EXPECT_EQ(Header("base")["virtual-size"], 2 * kDiskSize);
  machine_->Write(0, 2 * kDiskSize - kMiB, kMiB, 9);
  machine_->Flush(0);

  EXPECT_THAT(hypervisor->Resize(kVda, {"base", kDiskSize}),
              HasReasonOf(Reason::kHypervisorFailed));
  EXPECT_THAT(hypervisor->Resize(kVda, {"other", 4 * kDiskSize}),
              HasReasonOf(Reason::kHypervisorMismatch));
  machine_->Kill();
  EXPECT_TRUE(QemuReads(Path("base"), FileFormat::kQcow2, 2 * kDiskSize - kMiB, kMiB, 9));
}

TEST_F(LibvirtSwitchTest, ResizesARawDisk) {
  MakeBase("base", FileFormat::kRaw);
  StartMachine({{Path("base"), FileFormat::kRaw}});
  auto hypervisor = Connect();
  ASSERT_OK(hypervisor->Resize(kVda, {"base", 2 * kDiskSize}));
  ASSERT_OK_AND_ASSIGN(DiskState state, hypervisor->Look(kVda));
  EXPECT_EQ(state.size_bytes, 2 * kDiskSize);
  EXPECT_EQ(std::filesystem::file_size(Path("base")), static_cast<uintmax_t>(2 * kDiskSize));
}

}  // namespace
}  // namespace cairn::testing
