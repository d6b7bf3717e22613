// What libvirt says in XML about a domain's disks, and what it is told about them. Values only.
#ifndef CAIRN_LIB_HYPERVISOR_LIBVIRT_DOMAIN_XML_H_
#define CAIRN_LIB_HYPERVISOR_LIBVIRT_DOMAIN_XML_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/format.h"

namespace cairn {

// A file of a disk's chain. libvirt finds it again by its index whatever its path looks like.
struct LibvirtFile {
  std::string path;   // empty: not a plain file (a block device, a network disk)
  std::string index;  // empty: not shown
};

struct LibvirtDisk {
  std::string target;              // "vda"
  std::string alias;               // of QEMU's device: "virtio-disk0"
  std::vector<LibvirtFile> files;  // the active one first; none: an empty drive
  // A copy that is on its way, or ready to take over.
  struct Mirror {
    std::string path;
    bool ready = false;
  };
  std::optional<Mirror> mirror;
};

struct LibvirtDomain {
  bool running = false;  // the XML is that of a live machine
  std::vector<LibvirtDisk> disks;
};

// INTERNAL when it is no domain's XML.
absl::StatusOr<LibvirtDomain> ParseLibvirtDomain(const std::string& xml);

// The <disk> elements of those targets, for virDomainUpdateDeviceFlags, that name files below the
// active one, without these.
std::vector<std::string> LibvirtDisksWithoutBacking(const std::string& xml,
                                                    const std::vector<std::string>& targets);

// The block node on which the device of that alias stands, in QEMU's answer to `query-block`; empty:
// none.
std::string FindBlockNode(const std::string& query_block, const std::string& alias);

// The block node that understands the format of that file, in its answer to `query-named-block-nodes`;
// empty: none.
std::string FindFileNode(const std::string& query_nodes, const std::string& path);

struct LibvirtNewLayer {
  std::string target;
  std::string path;
};
// For virDomainSnapshotCreateXML: these disks get new qcow2 layers, the `others` stay as they are.
std::string LibvirtSnapshotXml(const std::vector<LibvirtNewLayer>& layers,
                               const std::vector<std::string>& others);

// For virDomainBlockCopy.
std::string LibvirtCopyXml(const std::string& path, FileFormat format);

}  // namespace cairn

#endif  // CAIRN_LIB_HYPERVISOR_LIBVIRT_DOMAIN_XML_H_
