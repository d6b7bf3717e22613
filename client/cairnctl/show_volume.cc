#include "cairnctl/show.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cairnctl/names.h"
#include "cairnctl/show_text.h"
#include "cairnctl/table.h"
#include "cairnctl/units.h"

namespace cairn::cairnctl {
namespace {

std::string SourceText(const v1::VolumeSource& source) {
  switch (source.kind_case()) {
    case v1::VolumeSource::kSnapshotId:
      return "snapshot " + source.snapshot_id();
    case v1::VolumeSource::kVolumeId:
      return "volume " + source.volume_id();
    case v1::VolumeSource::kImagePath:
      return "image " + source.image_path();
    case v1::VolumeSource::kAdoptedFile:
      return "adopted from " + source.adopted_file();
    case v1::VolumeSource::kImported:
      return "uploaded";
    case v1::VolumeSource::KIND_NOT_SET:
      return "";
  }
  return "";
}

std::string HypervisorText(const v1::Hypervisor& hypervisor) {
  switch (hypervisor.control_case()) {
    case v1::Hypervisor::kQmp:
      return fmt::format("QMP {} ({})", hypervisor.qmp().address(),
                         hypervisor.qmp().node_or_device());
    case v1::Hypervisor::kLibvirt:
      return fmt::format("libvirt {} {} ({})", hypervisor.libvirt().uri(),
                         hypervisor.libvirt().domain(), hypervisor.libvirt().target());
    case v1::Hypervisor::kAssisted:
      return "assisted by the consumer";
    case v1::Hypervisor::CONTROL_NOT_SET:
      return "";
  }
  return "";
}

std::string SurplusText(const v1::Volume& volume) {
  if (volume.surplus_layers().empty()) return "";
  return fmt::format("{} (no snapshot needs them: merged once the volume is detached)",
                     fmt::join(volume.surplus_layers(), ", "));
}

std::string ChainTable(const v1::Volume& volume) {
  Table table(
      {{"FILE"}, {"FORMAT"}, {"SIZE", Align::kRight}, {"USED", Align::kRight}, {"SNAPSHOT"}});
  for (const v1::ChainFile& file : volume.chain()) {
    table.AddRow({file.file(), Word(file.format()), FormatSize(file.virtual_size_bytes()),
                  FormatSize(file.physical_bytes()), file.snapshot_id()});
  }
  return table.empty() ? "" : "\nchain, oldest first:\n" + table.Render(2);
}

std::string AttachmentTable(const v1::Volume& volume, SystemTime now) {
  Table table(
      {{"ATTACHMENT"}, {"INSTANCE"}, {"HOST"}, {"ACCESS"}, {"HYPERVISOR"}, {"AGE", Align::kRight}});
  for (const v1::Attachment& attachment : volume.attachments()) {
    table.AddRow({attachment.id(), attachment.instance_id(), attachment.host(),
                  Word(attachment.access()), HypervisorText(attachment.hypervisor()),
                  Age(attachment.create_time(), now)});
  }
  return table.empty() ? "" : "\nattachments:\n" + table.Render(2);
}

}  // namespace

std::string VolumeTable(const std::vector<v1::Volume>& volumes, SystemTime now) {
  Table table({{"ID"},
               {"NAME"},
               {"STATE"},
               {"SIZE", Align::kRight},
               {"USED", Align::kRight},
               {"FORMAT"},
               {"POOL"},
               {"SHARE"},
               {"AGE", Align::kRight}});
  for (const v1::Volume& volume : volumes) {
    table.AddRow({volume.id(), volume.name(), Word(volume.state()), FormatSize(volume.size_bytes()),
                  FormatSize(volume.physical_bytes()), Word(volume.format()), volume.pool(),
                  volume.share(), Age(volume.create_time(), now)});
  }
  return table.Render();
}

std::string VolumeDetails(const v1::Volume& volume, SystemTime now) {
  FieldList fields;
  fields.Add("id", volume.id());
  fields.Add("name", volume.name());
  fields.Add("state", WithReason(Word(volume.state()), volume.state_reason()));
  fields.Add("size",
             fmt::format("{} ({} bytes)", FormatSize(volume.size_bytes()), volume.size_bytes()));
  fields.Add("used", FormatSize(volume.physical_bytes()));
  fields.Add("format", Word(volume.format()));
  fields.Add("pool", volume.pool());
  fields.Add("share", volume.share());
  fields.Add("active file", volume.active_file());
  fields.Add("surplus layers", SurplusText(volume));
  fields.Add("source", SourceText(volume.source()));
  fields.Add("labels", LabelText(Sorted(volume.labels())));
  fields.Add("created", When(volume.create_time(), now));
  fields.Add("updated", When(volume.update_time(), now));
  fields.Add("revision", std::to_string(volume.revision()));
  fields.Add("operation", volume.current_operation());
  return fields.Render() + ChainTable(volume) + AttachmentTable(volume, now);
}

std::string AttachmentDetails(const v1::Attachment& attachment, SystemTime now) {
  const v1::ConnectionInfo& connection = attachment.connection();
  FieldList fields;
  fields.Add("id", attachment.id());
  fields.Add("volume", attachment.volume_id());
  fields.Add("instance", attachment.instance_id());
  fields.Add("host", attachment.host());
  fields.Add("access", Word(attachment.access()));
  fields.Add("hypervisor", HypervisorText(attachment.hypervisor()));
  fields.Add("export", connection.export_address());
  fields.Add("mount options", connection.mount_options());
  fields.Add("mount point", connection.mount_point());
  fields.Add("file", connection.file_name());
  fields.Add("file format", connection.file_name().empty() ? "" : Word(connection.file_format()));
  fields.Add("blockdev", connection.qemu_blockdev_json());
  fields.Add("created", When(attachment.create_time(), now));
  return fields.Render();
}

}  // namespace cairn::cairnctl
