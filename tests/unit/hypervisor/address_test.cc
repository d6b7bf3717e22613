#include <string>

#include "lib/hypervisor/hypervisor.h"
#include "lib/hypervisor/qmp_socket.h"
#include "tests/support/matchers.h"

namespace cairn::testing {
namespace {

using Kind = HypervisorAddress::Kind;

std::string FieldOf(const absl::Status& status) {
  const auto details = GetErrorDetails(status);
  return details.has_value() && details->metadata.contains("field") ? details->metadata.at("field")
                                                                    : "";
}

TEST(QmpEndpoint, TakesItsForms) {
  ASSERT_OK_AND_ASSIGN(const QmpEndpoint local, ParseQmpEndpoint("unix:/run/vm 1/qmp.sock"));
  EXPECT_EQ(local.unix_path, "/run/vm 1/qmp.sock");
  ASSERT_OK_AND_ASSIGN(const QmpEndpoint named, ParseQmpEndpoint("tcp:host-1.example:4444"));
  EXPECT_EQ(named.host, "host-1.example");
  EXPECT_EQ(named.port, "4444");
  ASSERT_OK_AND_ASSIGN(const QmpEndpoint six, ParseQmpEndpoint("tcp:[fe80::1%eth0]:1"));
  EXPECT_EQ(six.host, "fe80::1%eth0");
  EXPECT_EQ(six.port, "1");
}

TEST(QmpEndpoint, RefusesAllElse) {
  for (const std::string& text : {std::string(),
                                  std::string("unix:"),
                                  std::string("unix:relative"),
                                  "unix:/" + std::string(108, 'x'),
                                  std::string("unix:/a\0b", 9),
                                  std::string("/run/qmp"),
                                  std::string("tcp:"),
                                  std::string("tcp:host"),
                                  std::string("tcp::1"),
                                  std::string("tcp:host:"),
                                  std::string("tcp:host:0"),
                                  std::string("tcp:host:65536"),
                                  std::string("tcp:host:1x"),
                                  std::string("tcp:host:-1"),
                                  std::string("tcp:fe80::1:1"),
                                  std::string("tcp:[fe80::1]"),
                                  std::string("tcp:[]:1"),
                                  std::string("tcp:ho st:1"),
                                  std::string("tcp:host:000001"),
                                  "tcp:" + std::string(300, 'x') + ":1",
                                  std::string("vsock:1:2")}) {
    const auto parsed = ParseQmpEndpoint(text);
    EXPECT_THAT(parsed, HasReasonOf(Reason::kInvalidField)) << text;
    EXPECT_EQ(FieldOf(parsed.status()), "hypervisor.qmp.address") << text;
  }
}

TEST(HypervisorAddress, IsCheckedByItsKind) {
  EXPECT_OK(CheckHypervisorAddress({}));
  EXPECT_OK(CheckHypervisorAddress({.kind = Kind::kAssisted}));
  EXPECT_OK(
      CheckHypervisorAddress({.kind = Kind::kQmp, .address = "unix:/run/qmp", .disk = "disk0"}));
  EXPECT_EQ(FieldOf(CheckHypervisorAddress({.kind = Kind::kQmp, .disk = "disk0"})),
            "hypervisor.qmp.address");
  EXPECT_EQ(FieldOf(CheckHypervisorAddress({.kind = Kind::kQmp, .address = "unix:/run/qmp"})),
            "hypervisor.qmp.node_or_device");

  const HypervisorAddress libvirt = {
      .kind = Kind::kLibvirt, .address = "qemu:///system", .domain = "vm", .disk = "vda"};
  EXPECT_OK(CheckHypervisorAddress(libvirt));
  for (const char* uri : {"qemu+tls://user@host/system", "qemu+tcp://host:16509/system",
                          "qemu+unix:///system?socket=/run/libvirt.sock"}) {
    HypervisorAddress address = libvirt;
    address.address = uri;
    EXPECT_OK(CheckHypervisorAddress(address));
  }
  // Those of ssh and ext start programs.
  for (const char* uri :
       {"", "system", "test:///default", "qemu+ssh://host/system",
        "qemu+ext:///system?command=/bin/sh", "qemu:///embed?root=/x",
        "qemu+unix:///system?command=x", "://host", "qemu+tls://me:secret@host/system",
        "qemu://me:sec@ret@host", "qemu:///sys\ntem"}) {
    HypervisorAddress address = libvirt;
    address.address = uri;
    const absl::Status status = CheckHypervisorAddress(address);
    EXPECT_EQ(FieldOf(status), "hypervisor.libvirt.uri") << uri;
    EXPECT_THAT(Describe(status), ::testing::Not(::testing::HasSubstr("sec")));
  }
  HypervisorAddress no_domain = libvirt;
  no_domain.domain.clear();
  EXPECT_EQ(FieldOf(CheckHypervisorAddress(no_domain)), "hypervisor.libvirt.domain");
  HypervisorAddress no_target = libvirt;
  no_target.disk.clear();
  EXPECT_EQ(FieldOf(CheckHypervisorAddress(no_target)), "hypervisor.libvirt.target");
}

TEST(HypervisorAddress, OnlyWhatCanBeAskedIsConnectedTo) {
  EXPECT_THAT(ConnectHypervisor({}, {}), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(ConnectHypervisor({.kind = Kind::kAssisted}, {}), HasReasonOf(Reason::kInvalidField));
  EXPECT_THAT(ConnectHypervisor({.kind = Kind::kQmp, .address = "qmp", .disk = "d"}, {}),
              HasReasonOf(Reason::kInvalidField));
}

}  // namespace
}  // namespace cairn::testing
