// Operations with their results, as messages.
#include <algorithm>

#include "lib/base/clock.h"
#include "lib/base/overloaded.h"
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

void SetMerge(const LayerMerge& merge, const VolumeRecord* volume, v1::MergeLayers* proto) {
  proto->set_direction(merge.direction == MergeDirection::kCommit ? v1::MERGE_DIRECTION_COMMIT
                                                                  : v1::MERGE_DIRECTION_STREAM);
  proto->set_top_file_name(merge.top);
  proto->set_base_file_name(merge.base);
  proto->set_rebased_file_name(merge.rebased);
  proto->set_backing_file_name_after(merge.backing_after);
  if (!merge.backing_after.empty()) {
    proto->set_backing_file_format_after(ToProto(merge.backing_format_after));
  }
  proto->set_active_file_name_after(volume == nullptr ? "" : volume->active_file);
  proto->set_active_file_format_after(v1::FILE_FORMAT_QCOW2);  // it lies on another, or did
}

void SetMove(const DiskMove& move, const DiskInstruction& instruction, const Engine& engine,
             v1::MoveDisk* proto) {
  proto->set_file_name(move.file);
  auto target =
      engine.ConnectionOf(instruction.volume_id, instruction.attachment_id, move.target_share);
  if (target.ok()) *proto->mutable_target() = ToProto(*target);
}

void SetHypervisorStep(const OperationRecord& operation, const Engine& engine,
                       v1::HypervisorStep* step) {
  step->set_number(static_cast<int32_t>(operation.consumer_step));
  for (const DiskInstruction& instruction : operation.instructions) {
    v1::HypervisorInstruction* proto = step->add_instructions();
    proto->set_volume_id(instruction.volume_id);
    proto->set_attachment_id(instruction.attachment_id);
    const VolumePtr volume = engine.records().FindVolume(instruction.volume_id);
    std::visit(
        Overloaded{
            [&](const LayerSwitch& c) {
              v1::SwitchToLayer* change = proto->mutable_switch_to_layer();
              change->set_file_name(c.file);
              change->set_file_format(v1::FILE_FORMAT_QCOW2);
              change->set_backing_file_name(c.backing_file);
              change->set_backing_file_format(ToProto(c.backing_format));
              change->set_quiesce(c.quiesce);
            },
            [&](const LayerMerge& c) { SetMerge(c, volume.get(), proto->mutable_merge_layers()); },
            [&](const DiskResize& c) {
              proto->mutable_resize_disk()->set_file_name(c.file);
              proto->mutable_resize_disk()->set_size_bytes(c.size_bytes);
            },
            [&](const DiskMove& c) { SetMove(c, instruction, engine, proto->mutable_move_disk()); },
        },
        instruction.change);
  }
}

void SetProgress(const OperationRecord& operation, v1::OperationProgress* progress) {
  progress->set_done_bytes(operation.done_bytes);
  progress->set_total_bytes(operation.total_bytes);
  progress->set_step(operation.step);
  // As fast as so far; not before there is something to judge by.
  absl::Duration passed = MonotonicTime::Now() - operation.running_since;
  bool known = operation.state == OperationState::kRunning && operation.done_bytes > 0 &&
               operation.total_bytes >= operation.done_bytes && passed > absl::Seconds(1) &&
               passed < absl::InfiniteDuration();
  if (!known) return;
  double left = static_cast<double>(operation.total_bytes - operation.done_bytes) /
                static_cast<double>(operation.done_bytes);
  *progress->mutable_estimated_end_time() =
      ToProto(Clock::System()->Now() + std::min(passed * left, absl::Hours(24 * 365)));
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
  if (!operation.instructions.empty()) {
    SetHypervisorStep(operation, engine, proto.mutable_hypervisor_step());
  }
  if (!operation.error.ok() && Ended(operation.state))
    *proto.mutable_error() = ToRpcStatus(operation.error);
  if (!operation.parked.ok()) *proto.mutable_parked() = ToRpcStatus(operation.parked);
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
