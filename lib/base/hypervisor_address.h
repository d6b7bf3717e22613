// How the hypervisor that has a volume's disk open is reached.
#ifndef CAIRN_LIB_BASE_HYPERVISOR_ADDRESS_H_
#define CAIRN_LIB_BASE_HYPERVISOR_ADDRESS_H_

#include <string>

namespace cairn {

struct HypervisorAddress {
  // kNone: nobody can be asked. kAssisted: the consumer commands its hypervisor by itself.
  enum class Kind { kNone, kQmp, kLibvirt, kAssisted };
  Kind kind = Kind::kNone;
  std::string address;  // QMP: unix:/path or tcp:host:port; libvirt: the URI
  std::string domain;   // libvirt: name or UUID
  std::string disk;     // QMP: node, device or export; libvirt: the target, such as vda
  bool operator==(const HypervisorAddress&) const = default;
};

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_HYPERVISOR_ADDRESS_H_
