// Between the wire's messages and the core's values: one place per message, in each direction that
// is needed. What a message can say and the core cannot (an enum number that nobody knows, a
// negative wait) ends here as INVALID_FIELD; everything else is for the engine to judge. Pure
// functions, but for those that look things up in the engine.
#ifndef CAIRN_SERVER_CONVERT_H_
#define CAIRN_SERVER_CONVERT_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "cairn/v1/operation.pb.h"
#include "cairn/v1/pool.pb.h"
#include "cairn/v1/snapshot_service.pb.h"
#include "cairn/v1/volume_service.pb.h"
#include "lib/engine/engine.h"

namespace cairn {

// ---- values

google::protobuf::Timestamp ToProto(absl::Time time);
google::protobuf::Duration ToProto(absl::Duration duration);
Labels LabelsFrom(const google::protobuf::Map<std::string, std::string>& labels);
void SetLabels(const Labels& labels, google::protobuf::Map<std::string, std::string>* map);

// How long a reply may be held. INVALID_FIELD when it is negative or no duration.
struct WaitLimits {
  std::string_view field = "wait";
  absl::Duration unset = absl::Seconds(2);
  absl::Duration max = absl::Seconds(60);
};
absl::StatusOr<absl::Duration> WaitFrom(bool given, const google::protobuf::Duration& wait,
                                        const WaitLimits& limits = {});

v1::VolumeState ToProto(VolumeState state);
v1::SnapshotState ToProto(SnapshotState state);
v1::OperationState ToProto(OperationState state);
v1::OperationKind ToProto(OperationKind kind);
v1::VolumeFormat ToProto(VolumeFormat format);
v1::FileFormat ToProto(FileFormat format);
v1::ShareState ToProto(ShareState state);

// ---- records to messages

v1::Volume ToProto(const VolumeRecord& volume);
v1::ChainFile ToProto(const ChainFile& file);
v1::Attachment ToProto(const Attachment& attachment);
v1::ConnectionInfo ToProto(const ConnectionInfo& connection);
v1::Snapshot ToProto(const SnapshotRecord& snapshot);
v1::Pool ToProto(const PoolStatus& pool);
// With the result of an operation that has succeeded, as it is now.
v1::Operation ToProto(const OperationRecord& operation, const Engine& engine);

// ---- requests

absl::StatusOr<CreateVolumeRequest> FromProto(const v1::CreateVolumeRequest& request);
absl::StatusOr<UpdateVolumeRequest> FromProto(const v1::UpdateVolumeRequest& request);
absl::StatusOr<DeleteVolumeRequest> FromProto(const v1::DeleteVolumeRequest& request);
absl::StatusOr<ExtendVolumeRequest> FromProto(const v1::ExtendVolumeRequest& request);
absl::StatusOr<MigrateVolumeRequest> FromProto(const v1::MigrateVolumeRequest& request);
absl::StatusOr<AttachVolumeRequest> FromProto(const v1::AttachVolumeRequest& request);
absl::StatusOr<DetachVolumeRequest> FromProto(const v1::DetachVolumeRequest& request);
absl::StatusOr<AdoptVolumeRequest> FromProto(const v1::AdoptVolumeRequest& request);
absl::StatusOr<ImportVolumeRequest> FromProto(const v1::ImportHeader& header);
absl::StatusOr<ExportRequest> FromProto(const v1::ExportVolumeRequest& request);
absl::StatusOr<CreateSnapshotRequest> FromProto(const v1::CreateSnapshotRequest& request);
absl::StatusOr<UpdateSnapshotRequest> FromProto(const v1::UpdateSnapshotRequest& request);
absl::StatusOr<DeleteSnapshotRequest> FromProto(const v1::DeleteSnapshotRequest& request);
absl::StatusOr<RevertToSnapshotRequest> FromProto(const v1::RevertToSnapshotRequest& request);

// Takes the chunk's data. INVALID_FIELD when it holds nothing or too much.
absl::StatusOr<ContentChunk> TakeChunk(v1::ContentChunk* chunk);
v1::ContentChunk ToProto(ContentChunk chunk);

template <typename ListRequest>
ListQuery ListQueryFrom(const ListRequest& request) {
  return {request.filter(), request.order_by(), request.page_size(), request.page_token()};
}

}  // namespace cairn

#endif  // CAIRN_SERVER_CONVERT_H_
