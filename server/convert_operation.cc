// Operations with their results, as messages.
#include <algorithm>

#include "absl/time/clock.h"
#include "server/convert.h"
#include "server/status_mapping.h"

namespace cairn {
namespace {

void SetAttachment(const OperationRecord& operation, const Engine& engine, v1::Operation* proto) {
  VolumePtr volume = engine.records().FindVolume(operation.volume_id);
  if (volume == nullptr) return;
  for (const Attachment& attachment : volume->attachments) {
    if (attachment.id != operation.target) continue;
    *proto->mutable_attachment() = ToProto(attachment);
    absl::StatusOr<ConnectionInfo> connection = engine.ConnectionOf(volume->id, attachment.id);
    if (connection.ok()) {
      *proto->mutable_attachment()->mutable_connection() = ToProto(*connection);
    }
  }
}

void SetResult(const OperationRecord& operation, const Engine& engine, v1::Operation* proto) {
  switch (operation.kind) {
    case OperationKind::kDeleteVolume:
    case OperationKind::kDeleteSnapshot:
      return;
    case OperationKind::kAttachVolume:
      return SetAttachment(operation, engine, proto);
    case OperationKind::kCreateSnapshot:
    case OperationKind::kUpdateSnapshot:
      if (SnapshotPtr snapshot = engine.records().FindSnapshot(operation.target)) {
        *proto->mutable_snapshot() = ToProto(*snapshot);
      }
      return;
    default:
      if (VolumePtr volume = engine.records().FindVolume(operation.volume_id)) {
        *proto->mutable_volume() = ToProto(*volume);
      }
  }
}

void SetProgress(const OperationRecord& operation, v1::OperationProgress* progress) {
  progress->set_done_bytes(operation.done_bytes);
  progress->set_total_bytes(operation.total_bytes);
  progress->set_step(operation.step);
  // As fast as so far; not before there is something to judge by.
  absl::Time now = absl::Now();
  absl::Duration passed = now - operation.start_time;
  bool known = operation.state == OperationState::kRunning && operation.done_bytes > 0 &&
               operation.total_bytes >= operation.done_bytes && passed > absl::Seconds(1) &&
               operation.start_time > absl::UnixEpoch();
  if (!known) return;
  double left = static_cast<double>(operation.total_bytes - operation.done_bytes) /
                static_cast<double>(operation.done_bytes);
  *progress->mutable_estimated_end_time() =
      ToProto(now + std::min(passed * left, absl::Hours(24 * 365)));
}

}  // namespace

v1::Operation ToProto(const OperationRecord& operation, const Engine& engine) {
  v1::Operation proto;
  proto.set_id(operation.id);
  proto.set_kind(ToProto(operation.kind));
  proto.set_target(operation.target);
  proto.set_volume_id(operation.volume_id);
  proto.set_state(ToProto(operation.state));
  SetProgress(operation, proto.mutable_progress());
  proto.set_cancellable(operation.cancellable);
  if (!operation.error.ok()) *proto.mutable_error() = ToRpcStatus(operation.error);
  if (operation.state == OperationState::kSucceeded) SetResult(operation, engine, &proto);
  proto.set_request_id(operation.request_id);
  proto.set_requested_by(operation.requested_by);
  *proto.mutable_create_time() = ToProto(operation.create_time);
  if (operation.start_time != absl::InfinitePast()) {
    *proto.mutable_start_time() = ToProto(operation.start_time);
  }
  if (operation.end_time != absl::InfiniteFuture()) {
    *proto.mutable_end_time() = ToProto(operation.end_time);
  }
  proto.set_revision(operation.revision);
  return proto;
}

}  // namespace cairn
