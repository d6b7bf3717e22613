// Requests as JSON, for the journal. Fields() is the one list of what a request consists of.
#include <fmt/format.h>

#include "lib/base/json.h"
#include "lib/base/json_fields.h"
#include "lib/base/status.h"
#include "lib/engine/requests.h"

namespace cairn {

static nlohmann::json ToJsonValue(const std::vector<SnapshotGroupMember>& members) {
  nlohmann::json list = nlohmann::json::array();
  for (const SnapshotGroupMember& member : members) {
    list.push_back({member.volume_id, member.snapshot_id});
  }
  return list;
}

static bool FromJsonValue(const nlohmann::json& json, std::vector<SnapshotGroupMember>& members) {
  if (!json.is_array()) return false;
  for (const auto& item : json) {
    std::vector<std::string> pair;
    if (!FromJsonValue(item, pair) || pair.size() != 2) return false;
    members.push_back({pair[0], pair[1]});
  }
  return true;
}

// Static rather than in the unnamed namespace, where argument-dependent look-up would not find it.
template <typename S, typename F>
static void Fields(S& r, F&& field) {
  using T = std::remove_const_t<S>;
  constexpr bool makes_volume = std::is_same_v<T, CreateVolumeRequest> ||
                                std::is_same_v<T, ImportVolumeRequest> ||
                                std::is_same_v<T, AdoptVolumeRequest>;
  if constexpr (requires { r.volume_id; }) field("volume_id", r.volume_id);
  if constexpr (requires { r.snapshot_id; }) field("snapshot_id", r.snapshot_id);
  if constexpr (requires { r.name; }) field("name", r.name);
  if constexpr (requires { r.labels; }) field("labels", r.labels);
  if constexpr (requires { r.size_bytes; }) field("size_bytes", r.size_bytes);
  if constexpr (makes_volume) {
    field("pool", r.pool);
    field("format", r.format);
  }
  if constexpr (makes_volume || std::is_same_v<T, MigrateVolumeRequest>) field("share", r.share);
  if constexpr (requires { r.expected_revision; }) field("expected_revision", r.expected_revision);
  if constexpr (requires { r.allow_missing; }) field("allow_missing", r.allow_missing);
  if constexpr (requires { r.attachment_id; }) field("attachment_id", r.attachment_id);
  if constexpr (std::is_same_v<T, CreateVolumeRequest>) {
    field("source_kind", r.source.kind);
    field("source", r.source.id_or_path);
    field("image_format", r.image_format);
    field("source_in_use", r.source_in_use);
  } else if constexpr (std::is_same_v<T, DeleteVolumeRequest>) {
    field("cascade", r.cascade);
  } else if constexpr (std::is_same_v<T, AttachVolumeRequest>) {
    field("instance_id", r.instance_id);
    field("host", r.host);
    field("access", r.access);
    field("hypervisor_kind", r.hypervisor.kind);
    field("hypervisor_address", r.hypervisor.address);
    field("hypervisor_domain", r.hypervisor.domain);
    field("hypervisor_disk", r.hypervisor.disk);
  } else if constexpr (std::is_same_v<T, DetachVolumeRequest>) {
    field("force", r.force);
    field("reason", r.reason);
  } else if constexpr (std::is_same_v<T, AdoptVolumeRequest>) {
    field("file_name", r.file_name);
  } else if constexpr (std::is_same_v<T, CreateSnapshotRequest>) {
    field("quiesce", r.quiesce);
    field("group_id", r.group_id);
    field("more", r.more);
    field("temporary", r.temporary);
  } else if constexpr (std::is_same_v<T, RevertToSnapshotRequest>) {
    field("discard_newer", r.discard_newer);
  }
}

namespace {

template <typename T>
absl::StatusOr<Request> Parse(const nlohmann::json& json) {
  T request;
  if (const char* bad = ReadFields(json, request); bad != nullptr) {
    return Error(Reason::kInternal, fmt::format("journalled request: field {}", bad));
  }
  return Request(std::move(request));
}

}  // namespace

OperationKind KindOf(const Request& request) {
  // The alternatives of Request stand in the order of OperationKind.
  static_assert(std::is_same_v<std::variant_alternative_t<0, Request>, CreateVolumeRequest>);
  static_assert(
      std::is_same_v<
          std::variant_alternative_t<static_cast<size_t>(OperationKind::kCreateSnapshot), Request>,
          CreateSnapshotRequest>);
  static_assert(
      std::is_same_v<
          std::variant_alternative_t<static_cast<size_t>(OperationKind::kMergeLayers), Request>,
          MergeLayersRequest>);
  return static_cast<OperationKind>(request.index());
}

std::string RequestToJson(const Request& request) {
  return DumpJson(std::visit([](const auto& r) { return WriteFields(r); }, request));
}

absl::StatusOr<Request> RequestFromJson(OperationKind kind, std::string_view text) {
  ASSIGN_OR_RETURN(auto json, ParseJson("journalled request", text));
  switch (kind) {
    case OperationKind::kCreateVolume:
      return Parse<CreateVolumeRequest>(json);
    case OperationKind::kUpdateVolume:
      return Parse<UpdateVolumeRequest>(json);
    case OperationKind::kDeleteVolume:
      return Parse<DeleteVolumeRequest>(json);
    case OperationKind::kExtendVolume:
      return Parse<ExtendVolumeRequest>(json);
    case OperationKind::kMigrateVolume:
      return Parse<MigrateVolumeRequest>(json);
    case OperationKind::kAttachVolume:
      return Parse<AttachVolumeRequest>(json);
    case OperationKind::kDetachVolume:
      return Parse<DetachVolumeRequest>(json);
    case OperationKind::kAdoptVolume:
      return Parse<AdoptVolumeRequest>(json);
    case OperationKind::kImportVolume:
      return Parse<ImportVolumeRequest>(json);
    case OperationKind::kCreateSnapshot:
      return Parse<CreateSnapshotRequest>(json);
    case OperationKind::kUpdateSnapshot:
      return Parse<UpdateSnapshotRequest>(json);
    case OperationKind::kDeleteSnapshot:
      return Parse<DeleteSnapshotRequest>(json);
    case OperationKind::kRevertToSnapshot:
      return Parse<RevertToSnapshotRequest>(json);
    case OperationKind::kMergeLayers:
      return Parse<MergeLayersRequest>(json);
  }
  return Error(Reason::kInternal, "journalled request: unknown kind");
}

}  // namespace cairn
