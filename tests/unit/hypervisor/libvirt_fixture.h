// What the tests with a real libvirtd share: one daemon, a fresh directory with images each.
#ifndef CAIRN_TESTS_UNIT_HYPERVISOR_LIBVIRT_FIXTURE_H_
#define CAIRN_TESTS_UNIT_HYPERVISOR_LIBVIRT_FIXTURE_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "lib/hypervisor/libvirt_hypervisor.h"
#include "lib/os/deadline.h"
#include "tests/support/libvirtd.h"
#include "tests/support/matchers.h"
#include "tests/support/qemu.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {

inline constexpr int64_t kMiB = 1 << 20;
inline constexpr int64_t kDiskSize = 64 * kMiB;
// Far more than anything takes here.
inline constexpr absl::Duration kLong = absl::Seconds(30);

inline bool IsGone(const absl::Status& status) {
  auto details = GetErrorDetails(status);
  return details && details->reason == Reason::kHypervisorUnavailable &&
         details->metadata.count("gone") > 0;
}

// Runs from the first test to the last.
LibvirtDaemon* TheLibvirtd();

class LibvirtTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return share_.File(name); }

  void MakeBase(const std::string& name, FileFormat format = FileFormat::kQcow2) const {
    RunTool({"qemu-img", "create", "-q", "-f", FormatOf(format), Path(name),
             std::to_string(kDiskSize)});
  }
  // As Cairn makes it: the header names the file below by its bare name.
  void MakeLayer(const std::string& name, const std::string& below,
                 FileFormat below_format = FileFormat::kQcow2) const {
    RunTool({"qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", FormatOf(below_format),
             Path(name), std::to_string(kDiskSize)});
  }

  void StartMachine(std::vector<LibvirtMachine::Disk> disks, bool defined = false) {
    machine_ = std::make_unique<LibvirtMachine>(libvirtd_, disks, defined);
  }
  HypervisorAddress Address(const std::string& disk = "vda") const {
    return {HypervisorAddress::Kind::kLibvirt, libvirtd_->uri(), machine_->name(), disk};
  }
  std::unique_ptr<Hypervisor> Connect(const HypervisorOptions& options = {}) const {
    auto hypervisor = ConnectLibvirt(Address(), options);
    EXPECT_OK(hypervisor);
    return hypervisor.ok() ? *std::move(hypervisor) : nullptr;
  }
  // libvirt needs a moment to notice the end of a machine; until then it is unavailable at most.
  template <typename Ask>
  static void ExpectGoneSoon(Ask ask) {
    absl::Status status;
    for (Deadline deadline(kLong); !deadline.passed() && !IsGone(status);) {
      status = ask();
      EXPECT_TRUE(status.ok() || HasReason(status, Reason::kHypervisorUnavailable))
          << Describe(status);
    }
    EXPECT_TRUE(IsGone(status)) << Describe(status);
  }
  // The names of the chain; an error's text when there is none.
  static std::vector<std::string> Files(Hypervisor& hypervisor, const DiskRef& disk) {
    auto state = hypervisor.Look(disk);
    return state.ok() ? state->files : std::vector<std::string>{Describe(state.status())};
  }
  // A layer on the active file, switched to.
  void SwitchTo(Hypervisor& hypervisor, const std::string& name, const std::string& below,
                FileFormat below_format = FileFormat::kQcow2) const {
    MakeLayer(name, below, below_format);
    ASSERT_OK(hypervisor.SwitchToLayers({{kVda, {name, below, below_format, false}}}));
  }
  // Of the header, while it is in use.
  nlohmann::json Header(const std::string& name) const {
    return nlohmann::json::parse(
        RunTool({"qemu-img", "info", "-U", "-f", "qcow2", "--output=json", Path(name)}), nullptr,
        false);
  }
  void ExpectBacking(const std::string& name, const std::string& below,
                     FileFormat below_format) const {
    nlohmann::json header = Header(name);
    EXPECT_EQ(header.value("backing-filename", ""), below) << name;
    EXPECT_EQ(header.value("backing-filename-format", ""),
              below.empty() ? "" : FormatOf(below_format))
        << name;
  }

  const DiskRef kVda{"vda", "volume-1"};
  LibvirtDaemon* const libvirtd_ = TheLibvirtd();
  TempDir share_;
  std::unique_ptr<LibvirtMachine> machine_;  // after the directory: it ends first
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_HYPERVISOR_LIBVIRT_FIXTURE_H_
