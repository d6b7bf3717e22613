// Requests about volumes, for the engine.
#include <fmt/format.h>

#include <optional>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/engine/fields.h"
#include "server/convert.h"
#include "server/update_mask.h"

namespace cairn {
namespace {

constexpr int64_t kChunkMin = 4 * kKiB;
constexpr int64_t kChunkMax = 2 * kMiB;

// Nothing for UNSPECIFIED.
absl::StatusOr<std::optional<VolumeFormat>> FormatFrom(v1::VolumeFormat format) {
  switch (format) {
    case v1::VOLUME_FORMAT_UNSPECIFIED:
      return std::optional<VolumeFormat>();
    case v1::VOLUME_FORMAT_QCOW2:
      return std::optional(VolumeFormat::kQcow2);
    case v1::VOLUME_FORMAT_RAW_SPARSE:
      return std::optional(VolumeFormat::kRawSparse);
    case v1::VOLUME_FORMAT_RAW_THICK:
      return std::optional(VolumeFormat::kRawThick);
    default:
      return InvalidField("format", "is no known format", fmt::format("{}", int{format}));
  }
}

absl::StatusOr<FileFormat> ImageFormatFrom(v1::FileFormat format) {
  switch (format) {
    case v1::FILE_FORMAT_RAW:
      return FileFormat::kRaw;
    case v1::FILE_FORMAT_QCOW2:
      return FileFormat::kQcow2;
    case v1::FILE_FORMAT_UNSPECIFIED:
      return InvalidField("source_image.format", "is required: a format is never probed");
    default:
      return InvalidField("source_image.format", "is no known format",
                          fmt::format("{}", int{format}));
  }
}

absl::StatusOr<AccessMode> AccessFrom(v1::AccessMode access) {
  switch (access) {
    case v1::ACCESS_MODE_UNSPECIFIED:
    case v1::ACCESS_MODE_READ_WRITE:
      return AccessMode::kReadWrite;
    case v1::ACCESS_MODE_READ_ONLY:
      return AccessMode::kReadOnly;
    default:
      return InvalidField("access", "is no known mode", fmt::format("{}", int{access}));
  }
}

// The texts are checked here, where it is known which fields of the wire they are.
absl::StatusOr<HypervisorAddress> HypervisorFrom(const v1::Hypervisor& hypervisor) {
  constexpr size_t kAddressMax = 1024;
  using Kind = HypervisorAddress::Kind;
  switch (hypervisor.control_case()) {
    case v1::Hypervisor::CONTROL_NOT_SET:
      return HypervisorAddress{};
    case v1::Hypervisor::kQmp:
      RETURN_IF_ERROR(CheckText("hypervisor.qmp.address", hypervisor.qmp().address(), kAddressMax));
      RETURN_IF_ERROR(
          CheckText("hypervisor.qmp.node_or_device", hypervisor.qmp().node_or_device()));
      return HypervisorAddress{Kind::kQmp, hypervisor.qmp().address(), "",
                               hypervisor.qmp().node_or_device()};
    case v1::Hypervisor::kLibvirt:
      RETURN_IF_ERROR(CheckText("hypervisor.libvirt.uri", hypervisor.libvirt().uri(), kAddressMax));
      RETURN_IF_ERROR(CheckText("hypervisor.libvirt.domain", hypervisor.libvirt().domain()));
      RETURN_IF_ERROR(CheckText("hypervisor.libvirt.target", hypervisor.libvirt().target()));
      return HypervisorAddress{Kind::kLibvirt, hypervisor.libvirt().uri(),
                               hypervisor.libvirt().domain(), hypervisor.libvirt().target()};
    case v1::Hypervisor::kAssisted:
      return HypervisorAddress{Kind::kAssisted, "", "", ""};
  }
  return HypervisorAddress{};
}

// What CreateVolume, AdoptVolume and ImportVolume have in common.
template <typename Proto, typename Core>
void TakePlace(const Proto& request, Core* core) {
  core->volume_id = request.volume_id();
  core->name = request.name();
  core->pool = request.pool();
  core->share = request.share();
  core->labels = LabelsFrom(request.labels());
}

}  // namespace

absl::StatusOr<CreateVolumeRequest> FromProto(const v1::CreateVolumeRequest& request) {
  CreateVolumeRequest core;
  TakePlace(request, &core);
  core.size_bytes = request.size_bytes();
  ASSIGN_OR_RETURN(core.format, FormatFrom(request.format()));
  switch (request.source_case()) {
    case v1::CreateVolumeRequest::SOURCE_NOT_SET:
      break;
    case v1::CreateVolumeRequest::kSourceSnapshotId:
      core.source = {VolumeSource::Kind::kSnapshot, request.source_snapshot_id()};
      break;
    case v1::CreateVolumeRequest::kSourceVolumeId:
      core.source = {VolumeSource::Kind::kVolume, request.source_volume_id()};
      break;
    case v1::CreateVolumeRequest::kSourceImage:
      core.source = {VolumeSource::Kind::kImage, request.source_image().path()};
      ASSIGN_OR_RETURN(core.image_format, ImageFormatFrom(request.source_image().format()));
      break;
  }
  return core;
}

absl::StatusOr<UpdateVolumeRequest> FromProto(const v1::UpdateVolumeRequest& request) {
  UpdateVolumeRequest core;
  core.volume_id = request.volume_id();
  RETURN_IF_ERROR(TakeUpdate(request, &core));
  return core;
}

absl::StatusOr<DeleteVolumeRequest> FromProto(const v1::DeleteVolumeRequest& request) {
  return DeleteVolumeRequest{request.volume_id(), request.allow_missing(), request.cascade()};
}

absl::StatusOr<ExtendVolumeRequest> FromProto(const v1::ExtendVolumeRequest& request) {
  return ExtendVolumeRequest{request.volume_id(), request.size_bytes()};
}

absl::StatusOr<MigrateVolumeRequest> FromProto(const v1::MigrateVolumeRequest& request) {
  return MigrateVolumeRequest{request.volume_id(), request.share()};
}

absl::StatusOr<AttachVolumeRequest> FromProto(const v1::AttachVolumeRequest& request) {
  AttachVolumeRequest core;
  core.volume_id = request.volume_id();
  core.attachment_id = request.attachment_id();
  core.instance_id = request.instance_id();
  core.host = request.host();
  ASSIGN_OR_RETURN(core.access, AccessFrom(request.access()));
  ASSIGN_OR_RETURN(core.hypervisor, HypervisorFrom(request.hypervisor()));
  return core;
}

absl::StatusOr<DetachVolumeRequest> FromProto(const v1::DetachVolumeRequest& request) {
  return DetachVolumeRequest{request.volume_id(), request.attachment_id(), request.force(),
                             request.reason()};
}

absl::StatusOr<AdoptVolumeRequest> FromProto(const v1::AdoptVolumeRequest& request) {
  AdoptVolumeRequest core;
  TakePlace(request, &core);
  core.file_name = request.file_name();
  ASSIGN_OR_RETURN(std::optional<VolumeFormat> format, FormatFrom(request.format()));
  if (!format.has_value()) {
    return InvalidField("format", "is required: a format is never probed");
  }
  core.format = *format;
  return core;
}

absl::StatusOr<ImportVolumeRequest> FromProto(const v1::ImportHeader& header) {
  ImportVolumeRequest core;
  TakePlace(header, &core);
  core.size_bytes = header.size_bytes();
  ASSIGN_OR_RETURN(core.format, FormatFrom(header.format()));
  return core;
}

absl::StatusOr<ExportRequest> FromProto(const v1::ExportVolumeRequest& request) {
  ExportRequest core;
  if (request.has_volume_id()) {
    ASSIGN_OR_RETURN(core.volume_id, ParseId("volume_id", request.volume_id()));
  } else if (request.has_snapshot_id()) {
    ASSIGN_OR_RETURN(core.snapshot_id, ParseId("snapshot_id", request.snapshot_id()));
  } else {
    return InvalidField("source", "volume_id or snapshot_id is required");
  }
  if (request.chunk_bytes() != 0 &&
      (request.chunk_bytes() < kChunkMin || request.chunk_bytes() > kChunkMax)) {
    return InvalidField("chunk_bytes",
                        fmt::format("must be 0 or from {} to {}", kChunkMin, kChunkMax),
                        std::to_string(request.chunk_bytes()));
  }
  core.offset = request.offset();
  core.length = request.length();
  core.chunk_bytes = request.chunk_bytes();
  return core;
}

absl::StatusOr<ContentChunk> TakeChunk(v1::ContentChunk* chunk) {
  ContentChunk core;
  core.offset = chunk->offset();
  core.crc32c = chunk->crc32c();
  switch (chunk->content_case()) {
    case v1::ContentChunk::CONTENT_NOT_SET:
      return InvalidField("chunk.content", "data or zero_length is required");
    case v1::ContentChunk::kData:
      if (chunk->data().empty() || static_cast<int64_t>(chunk->data().size()) > kChunkMax) {
        return InvalidField("chunk.data", fmt::format("must hold 1 to {} bytes", kChunkMax),
                            fmt::format("{} bytes", chunk->data().size()));
      }
      core.data = std::move(*chunk->mutable_data());
      break;
    case v1::ContentChunk::kZeroLength:
      if (chunk->zero_length() < 1) {
        return InvalidField("chunk.zero_length", "must be at least 1",
                            std::to_string(chunk->zero_length()));
      }
      core.zero_length = chunk->zero_length();
      break;
  }
  return core;
}

}  // namespace cairn
