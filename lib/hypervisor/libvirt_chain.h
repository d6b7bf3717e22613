// The chain of files that a libvirt domain has open for a disk, in Cairn's terms: bare names in one
// directory. Values only.
#ifndef CAIRN_LIB_HYPERVISOR_LIBVIRT_CHAIN_H_
#define CAIRN_LIB_HYPERVISOR_LIBVIRT_CHAIN_H_

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/hypervisor/libvirt_connection.h"
#include "lib/hypervisor/libvirt_domain_xml.h"

namespace cairn {

struct LibvirtChain {
  std::string directory;
  std::vector<std::string> names;       // the active one first; there is one at least
  std::vector<std::string> references;  // what libvirt finds each of them by
  LibvirtDisk disk;

  size_t Find(std::string_view name) const {
    return static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin());
  }
  bool Has(std::string_view name) const { return Find(name) < names.size(); }
  // Whether `below` is what `above` stands on; empty: it stands on nothing.
  bool StandsOn(std::string_view above, std::string_view below) const {
    size_t next = Find(above) + 1;
    return next < names.size() ? names[next] == below : next == names.size() && below.empty();
  }
};

// Of the disk with that target. HYPERVISOR_MISMATCH when it is not there, or not made of files in one
// directory; in the name of `connection`.
absl::StatusOr<LibvirtChain> FindLibvirtChain(const LibvirtConnection& connection,
                                              const LibvirtDomain& domain,
                                              const std::string& target);

// Whether both name the same place, by the text alone: a slash at the end says nothing.
bool SamePath(std::string_view a, std::string_view b);

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_LIBVIRT_CHAIN_H_
