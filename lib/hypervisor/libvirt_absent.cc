// In place of libvirt_hypervisor.cc in a build without libvirt.
#include "lib/base/status.h"
#include "lib/hypervisor/libvirt_hypervisor.h"

namespace cairn {

absl::StatusOr<std::unique_ptr<Hypervisor>> ConnectLibvirt(const HypervisorAddress& address,
                                                           const HypervisorOptions&) {
  RETURN_IF_ERROR(CheckLibvirtAddress(address));
  return Error(Reason::kToolMissing,
               "this Cairn was built without libvirt (CAIRN_LIBVIRT=OFF): it cannot connect to " +
                   address.address,
               {{"tool", "libvirt"}, {"package", "libvirt0"}, {"address", address.address}});
}

}  // namespace cairn
