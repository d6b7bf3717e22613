// Disks of machines that libvirt runs, commanded through the libvirt API.
//
// Look, switch, merge and move are libvirt's own XML, external snapshot, block commit, block pull and
// block copy. libvirt keeps one job a disk and knows no names for them: a running job of the right
// kind is taken for the one that is asked for, any other one makes a request fail.
//
// After a merge the active file is flushed through QEMU's monitor, because libvirt cannot and QEMU does
// not do so by itself; see LibvirtConnection::Flush.
//
// A disk is moved with the guest held from when its copy is kReady until that has taken over. That it is
// held is written into the machine's metadata, so that another process releases it.
//
// The domain's definition must leave out <backingStore>: libvirt then reads the chain from the files
// when the machine starts and shows all of it.
//
// libvirt's own limits do not cover a daemon that has stopped answering, so each call runs in a thread
// that is left behind when HypervisorOptions::answer_timeout has passed; see call_thread.h.
//
// The first connection starts libvirt's event loop, in one thread that runs as long as the process.
// Threads: as hypervisor.h says.
//
//   ASSIGN_OR_RETURN(auto hypervisor, ConnectLibvirt(
//       {HypervisorAddress::Kind::kLibvirt, "qemu:///system", "web-1", "vda"}, {}));
#ifndef CAIRN_LIB_HYPERVISOR_LIBVIRT_HYPERVISOR_H_
#define CAIRN_LIB_HYPERVISOR_LIBVIRT_HYPERVISOR_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/hypervisor_address.h"
#include "lib/hypervisor/hypervisor.h"

namespace cairn {

// INVALID_FIELD for an address that is wrong; HYPERVISOR_UNAVAILABLE when no libvirt answers there.
// TOOL_MISSING when Cairn was built without libvirt. That the domain runs is not checked yet: the
// methods then say HYPERVISOR_UNAVAILABLE with metadata {gone: true}, because nobody has its disks
// open as far as this libvirt knows.
absl::StatusOr<std::unique_ptr<Hypervisor>> ConnectLibvirt(const HypervisorAddress& address,
                                                           const HypervisorOptions& options);

// INVALID_FIELD unless the URI is one of QEMU over a socket or TCP, and domain and disk are named.
// Transports that run a program (ssh, ext) are refused: whoever may attach a volume could have this
// server run what they like.
absl::Status CheckLibvirtAddress(const HypervisorAddress& address);

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_LIBVIRT_HYPERVISOR_H_
