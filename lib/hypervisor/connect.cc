// Which implementation an address asks for.
#include "lib/base/status.h"
#include "lib/hypervisor/hypervisor.h"

namespace cairn {

absl::Status CheckHypervisorAddress(const HypervisorAddress&) { return absl::OkStatus(); }

absl::StatusOr<std::unique_ptr<Hypervisor>> ConnectHypervisor(const HypervisorAddress& address,
                                                              const HypervisorOptions&) {
  return InvalidField("hypervisor", "is of no kind that can be connected to", address.address);
}

}  // namespace cairn
