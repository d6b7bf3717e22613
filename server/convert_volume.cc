// Volumes and what belongs to them, as messages.
#include "server/convert.h"

namespace cairn {
namespace {

v1::VolumeSource SourceToProto(const VolumeSource& source) {
  v1::VolumeSource proto;
  switch (source.kind) {
    case VolumeSource::Kind::kNone:
      break;
    case VolumeSource::Kind::kSnapshot:
      proto.set_snapshot_id(source.id_or_path);
      break;
    case VolumeSource::Kind::kVolume:
      proto.set_volume_id(source.id_or_path);
      break;
    case VolumeSource::Kind::kImage:
      proto.set_image_path(source.id_or_path);
      break;
    case VolumeSource::Kind::kImport:
      proto.set_imported(true);
      break;
    case VolumeSource::Kind::kAdopted:
      proto.set_adopted_file(source.id_or_path);
      break;
  }
  return proto;
}

v1::Hypervisor HypervisorToProto(const HypervisorAddress& hypervisor) {
  v1::Hypervisor proto;
  switch (hypervisor.kind) {
    case HypervisorAddress::Kind::kNone:
      break;
    case HypervisorAddress::Kind::kQmp:
      proto.mutable_qmp()->set_address(hypervisor.address);
      proto.mutable_qmp()->set_node_or_device(hypervisor.disk);
      break;
    case HypervisorAddress::Kind::kLibvirt:
      proto.mutable_libvirt()->set_uri(hypervisor.address);
      proto.mutable_libvirt()->set_domain(hypervisor.domain);
      proto.mutable_libvirt()->set_target(hypervisor.disk);
      break;
    case HypervisorAddress::Kind::kAssisted:
      proto.mutable_assisted();
      break;
  }
  return proto;
}

}  // namespace

v1::Volume ToProto(const VolumeRecord& volume) {
  v1::Volume proto;
  proto.set_id(volume.id);
  proto.set_name(volume.name);
  proto.set_pool(volume.pool);
  proto.set_share(volume.share);
  proto.set_size_bytes(volume.size_bytes);
  proto.set_format(ToProto(volume.format));
  proto.set_state(ToProto(volume.state));
  proto.set_state_reason(volume.state_reason);
  SetLabels(volume.labels, proto.mutable_labels());
  proto.set_active_file(volume.active_file);
  proto.set_physical_bytes(volume.physical_bytes);
  for (const Attachment& attachment : volume.attachments) {
    *proto.add_attachments() = ToProto(attachment);
  }
  if (volume.source.kind != VolumeSource::Kind::kNone) {
    *proto.mutable_source() = SourceToProto(volume.source);
  }
  *proto.mutable_create_time() = ToProto(volume.create_time);
  *proto.mutable_update_time() = ToProto(volume.update_time);
  proto.set_revision(volume.revision);
  proto.set_current_operation(volume.current_operation);
  for (const std::string& file : volume.surplus_layers) proto.add_surplus_layers(file);
  return proto;
}

v1::ChainFile ToProto(const ChainFile& file) {
  v1::ChainFile proto;
  proto.set_file(file.file);
  proto.set_format(ToProto(file.format));
  proto.set_snapshot_id(file.snapshot_id);
  proto.set_virtual_size_bytes(file.virtual_size);
  proto.set_physical_bytes(file.physical_bytes);
  return proto;
}

v1::Attachment ToProto(const Attachment& attachment) {
  v1::Attachment proto;
  proto.set_id(attachment.id);
  proto.set_volume_id(attachment.volume_id);
  proto.set_instance_id(attachment.instance_id);
  proto.set_host(attachment.host);
  proto.set_access(attachment.access == AccessMode::kReadOnly ? v1::ACCESS_MODE_READ_ONLY
                                                              : v1::ACCESS_MODE_READ_WRITE);
  if (attachment.hypervisor.kind != HypervisorAddress::Kind::kNone) {
    *proto.mutable_hypervisor() = HypervisorToProto(attachment.hypervisor);
  }
  *proto.mutable_create_time() = ToProto(attachment.create_time);
  return proto;
}

v1::ConnectionInfo ToProto(const ConnectionInfo& connection) {
  v1::ConnectionInfo proto;
  proto.set_export_address(connection.export_address);
  proto.set_mount_options(connection.mount_options);
  proto.set_mount_point_base(connection.mount_point_base);
  proto.set_mount_point(connection.mount_point);
  proto.set_file_name(connection.file_name);
  proto.set_file_format(ToProto(connection.file_format));
  proto.set_size_bytes(connection.size_bytes);
  proto.set_qemu_blockdev_json(connection.qemu_blockdev_json);
  proto.set_libvirt_disk_xml(connection.libvirt_disk_xml);
  return proto;
}

v1::ContentChunk ToProto(ContentChunk chunk) {
  v1::ContentChunk proto;
  proto.set_offset(chunk.offset);
  if (chunk.data.empty()) {
    proto.set_zero_length(chunk.zero_length);
  } else {
    proto.set_data(std::move(chunk.data));
  }
  proto.set_crc32c(chunk.crc32c);
  return proto;
}

}  // namespace cairn
