#include <gtest/gtest.h>

#include <string>

#include "lib/hypervisor/libvirt_hypervisor.h"
#include "tests/support/matchers.h"

namespace cairn::testing {
namespace {

HypervisorAddress WithUri(const std::string& uri) {
  return {HypervisorAddress::Kind::kLibvirt, uri, "web-1", "vda"};
}

TEST(LibvirtAddress, TakesSocketsAndTcp) {
  for (const char* uri :
       {"qemu:///system", "qemu:///session", "qemu+unix:///system?socket=/run/libvirt/sock",
        "qemu+tls://host.example/system", "qemu+tls://host:16514/system?no_verify=1&pkipath=/pki",
        "qemu+tcp://[::1]:16509/system"}) {
    EXPECT_OK(CheckLibvirtAddress(WithUri(uri))) << uri;
  }
}

TEST(LibvirtAddress, TakesNothingThatRunsAProgramHere) {
  for (const char* uri :
       {"qemu+ssh://host/system", "qemu+libssh2://host/system",
        "qemu+ext:///system?command=/bin/sh", "qemu+unix:///system?command=/bin/sh",
        "qemu+tls://host/system?socket=/s&netcat=/bin/sh", "qemu:///embed?root=/tmp",
        "test:///default", "esx://host/system", "qemu://host", "qemu:/system",
        "/run/libvirt/libvirt-sock", ""}) {
    EXPECT_THAT(CheckLibvirtAddress(WithUri(uri)), HasReasonOf(Reason::kInvalidField)) << uri;
    EXPECT_THAT(ConnectLibvirt(WithUri(uri), {}), HasReasonOf(Reason::kInvalidField)) << uri;
  }
}

#ifndef CAIRN_LIBVIRT
TEST(LibvirtAddress, SaysThatThisBuildHasNoLibvirt) {
  absl::Status status = ConnectLibvirt(WithUri("qemu:///system"), {}).status();
  EXPECT_THAT(status, HasReasonOf(Reason::kToolMissing));
  EXPECT_NE(std::string(status.message()).find("built without libvirt"), std::string::npos);
}
#endif

}  // namespace
}  // namespace cairn::testing
