#include "lib/engine/connection.h"

#include <fmt/format.h>

#include "lib/base/json.h"
#include "lib/base/size.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

std::string XmlEscaped(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '\'':
        escaped += "&apos;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

// For a target that is given, libvirt derives the bus from its name.
std::string TargetElement(const HypervisorAddress& hypervisor) {
  if (hypervisor.kind != HypervisorAddress::Kind::kLibvirt || hypervisor.disk.empty()) {
    return "<target dev='vda' bus='virtio'/>";
  }
  return fmt::format("<target dev='{}'/>", XmlEscaped(hypervisor.disk));
}

}  // namespace

absl::StatusOr<ConnectionInfo> DescribeConnection(const Core& core, const VolumeRecord& volume,
                                                  const std::string& attachment_id) {
  ASSIGN_OR_RETURN(Pool * pool, core.PoolNamed(volume.pool));
  ASSIGN_OR_RETURN(Share * share, core.ShareOf(volume));
  ConnectionInfo info;
  info.export_address = volume.share;
  info.mount_options =
      MergeMountOptions(pool->options().nfs_mount_options, share->spec().mount_options);
  info.mount_point_base = pool->options().nfs_mount_point_base;
  info.mount_point = share->directory();
  info.file_name = volume.active_file;
  info.file_format = volume.chain.size() > 1 ? FileFormat::kQcow2 : volume.base_format;
  info.size_bytes = volume.size_bytes;
  const std::string path = share->directory() + "/" + volume.active_file;
  const std::string format(FileFormatName(info.file_format));
  Attachment attachment;
  for (const Attachment& known : volume.attachments) {
    if (known.id == attachment_id) attachment = known;
  }
  const bool read_only = attachment.access == AccessMode::kReadOnly;
  // With direct I/O QEMU opens no raw file for writing that ends within a block of the file system.
  constexpr int64_t kBlockBytes = 4 * kKiB;
  const bool direct =
      volume.base_format == FileFormat::kQcow2 || volume.size_bytes % kBlockBytes == 0;
  // qemu limits node names to 31 characters.
  const std::string node = "cairn-" + volume.id.substr(0, 13);
  info.qemu_blockdev_json = DumpJson({{"driver", format},
                                      {"node-name", node},
                                      {"read-only", read_only},
                                      {"cache", {{"direct", direct}}},
                                      {"file", {{"driver", "file"}, {"filename", path}}}});
  info.libvirt_disk_xml = fmt::format(
      "<disk type='file' device='disk'><driver name='qemu' type='{}' cache='{}'/>"
      "<source file='{}'/>{}{}<serial>{}</serial></disk>",
      format, direct ? "none" : "writeback", XmlEscaped(path), TargetElement(attachment.hypervisor),
      read_only ? "<readonly/>" : "", volume.id);
  return info;
}

}  // namespace cairn
