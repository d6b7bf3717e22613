// Which implementation an address asks for, and whether it can be right.
#include <string_view>

#include "lib/base/status.h"
#include "lib/hypervisor/hypervisor.h"
#include "lib/hypervisor/libvirt_hypervisor.h"
#include "lib/hypervisor/qmp_hypervisor.h"
#include "lib/hypervisor/qmp_socket.h"

namespace cairn {
namespace {

constexpr size_t kTextMax = 1024;

// Present, of one line, and not endless.
absl::Status CheckPresent(std::string_view field, std::string_view text) {
  if (text.empty()) return InvalidField(field, "is missing");
  if (text.size() > kTextMax) return InvalidField(field, "is too long");
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      return InvalidField(field, "has control characters");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckHypervisorAddress(const HypervisorAddress& address) {
  using Kind = HypervisorAddress::Kind;
  switch (address.kind) {
    case Kind::kNone:
    case Kind::kAssisted:
      return absl::OkStatus();
    case Kind::kQmp:
      RETURN_IF_ERROR(CheckPresent("hypervisor.qmp.address", address.address));
      RETURN_IF_ERROR(ParseQmpEndpoint(address.address).status());
      return CheckPresent("hypervisor.qmp.node_or_device", address.disk);
    case Kind::kLibvirt:
      RETURN_IF_ERROR(CheckPresent("hypervisor.libvirt.uri", address.address));
      RETURN_IF_ERROR(CheckPresent("hypervisor.libvirt.domain", address.domain));
      RETURN_IF_ERROR(CheckPresent("hypervisor.libvirt.target", address.disk));
      return CheckLibvirtAddress(address);
  }
  return InvalidField("hypervisor", "is of no kind that is known");
}

absl::StatusOr<std::unique_ptr<Hypervisor>> ConnectHypervisor(const HypervisorAddress& address,
                                                              const HypervisorOptions& options) {
  RETURN_IF_ERROR(CheckHypervisorAddress(address));
  switch (address.kind) {
    case HypervisorAddress::Kind::kQmp:
      return QmpHypervisor::Connect(address, options);
    case HypervisorAddress::Kind::kLibvirt:
      return ConnectLibvirt(address, options);
    case HypervisorAddress::Kind::kNone:
    case HypervisorAddress::Kind::kAssisted:
      break;
  }
  return InvalidField("hypervisor", "is of no kind that can be connected to", address.address);
}

}  // namespace cairn
