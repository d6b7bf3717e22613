// Snapshots and requests about them.
#include "lib/base/status.h"
#include "server/convert.h"
#include "server/update_mask.h"

namespace cairn {

v1::Snapshot ToProto(const SnapshotRecord& snapshot) {
  v1::Snapshot proto;
  proto.set_id(snapshot.id);
  proto.set_volume_id(snapshot.volume_id);
  proto.set_name(snapshot.name);
  SetLabels(snapshot.labels, proto.mutable_labels());
  proto.set_state(ToProto(snapshot.state));
  proto.set_state_reason(snapshot.state_reason);
  proto.set_size_bytes(snapshot.size_bytes);
  proto.set_file(snapshot.file);
  proto.set_created_while(snapshot.created_in_use ? v1::SNAPSHOT_CONDITION_IN_USE
                                                  : v1::SNAPSHOT_CONDITION_OFFLINE);
  proto.set_quiesced(snapshot.quiesced);
  proto.set_group_id(snapshot.group_id);
  *proto.mutable_create_time() = ToProto(snapshot.create_time);
  *proto.mutable_update_time() = ToProto(snapshot.update_time);
  proto.set_revision(snapshot.revision);
  return proto;
}

absl::StatusOr<CreateSnapshotRequest> FromProto(const v1::CreateSnapshotRequest& request) {
  CreateSnapshotRequest core;
  core.volume_id = request.volume_id();
  core.snapshot_id = request.snapshot_id();
  core.name = request.name();
  core.labels = LabelsFrom(request.labels());
  core.quiesce = request.quiesce();
  core.group_id = request.group_id();
  for (const v1::SnapshotGroupMember& member : request.additional_volumes()) {
    core.more.push_back({member.volume_id(), member.snapshot_id()});
  }
  return core;
}

absl::StatusOr<UpdateSnapshotRequest> FromProto(const v1::UpdateSnapshotRequest& request) {
  UpdateSnapshotRequest core;
  core.snapshot_id = request.snapshot_id();
  RETURN_IF_ERROR(TakeUpdate(request, &core));
  return core;
}

absl::StatusOr<DeleteSnapshotRequest> FromProto(const v1::DeleteSnapshotRequest& request) {
  return DeleteSnapshotRequest{request.snapshot_id(), request.allow_missing()};
}

absl::StatusOr<RevertToSnapshotRequest> FromProto(const v1::RevertToSnapshotRequest& request) {
  return RevertToSnapshotRequest{request.snapshot_id(), request.discard_newer()};
}

}  // namespace cairn
