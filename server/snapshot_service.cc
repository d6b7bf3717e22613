#include "server/snapshot_service.h"

#include <fmt/format.h>

#include "lib/base/id.h"
#include "server/change.h"
#include "server/paging.h"

namespace cairn {
namespace {

absl::Status StartGetSnapshot(Engine* engine, const v1::GetSnapshotRequest& request,
                              const std::shared_ptr<UnaryCall<v1::GetSnapshotResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("snapshot_id", request.snapshot_id()));
  SnapshotPtr snapshot = engine->records().FindSnapshot(id);
  if (snapshot == nullptr) {
    return Error(Reason::kSnapshotNotFound, fmt::format("there is no snapshot {}", id),
                 {{"snapshot", id}});
  }
  v1::GetSnapshotResponse response;
  *response.mutable_snapshot() = ToProto(*snapshot);
  call->Reply(std::move(response));
  return absl::OkStatus();
}

absl::Status StartListSnapshots(Engine* engine, const v1::ListSnapshotsRequest& request,
                                const std::shared_ptr<UnaryCall<v1::ListSnapshotsResponse>>& call) {
  std::string volume_id;
  if (!request.volume_id().empty()) {
    ASSIGN_OR_RETURN(volume_id, ParseId("volume_id", request.volume_id()));
  }
  v1::ListSnapshotsResponse response;
  ASSIGN_OR_RETURN(
      *response.mutable_next_page_token(),
      FillPage(
          ListQueryFrom(request),
          [&](const ListQuery& query) { return engine->records().ListSnapshots(query, volume_id); },
          [](const SnapshotRecord& snapshot) { return ToProto(snapshot); },
          response.mutable_snapshots()));
  call->Reply(std::move(response));
  return absl::OkStatus();
}

}  // namespace

#define CAIRN_SNAPSHOT_CHANGE(method)                                                      \
  grpc::ServerUnaryReactor* SnapshotService::method(grpc::CallbackServerContext* context,  \
                                                    const v1::method##Request* request,    \
                                                    v1::method##Response* response) {      \
    return ServeUnary(services_, {"SnapshotService." #method, CallKind::kChange}, context, \
                      request, response, StartChange());                                   \
  }
CAIRN_SNAPSHOT_CHANGE(CreateSnapshot)
CAIRN_SNAPSHOT_CHANGE(UpdateSnapshot)
CAIRN_SNAPSHOT_CHANGE(DeleteSnapshot)
CAIRN_SNAPSHOT_CHANGE(RevertToSnapshot)
#undef CAIRN_SNAPSHOT_CHANGE

grpc::ServerUnaryReactor* SnapshotService::GetSnapshot(grpc::CallbackServerContext* context,
                                                       const v1::GetSnapshotRequest* request,
                                                       v1::GetSnapshotResponse* response) {
  return ServeUnary(services_, {"SnapshotService.GetSnapshot", CallKind::kRead}, context, request,
                    response, StartGetSnapshot);
}

grpc::ServerUnaryReactor* SnapshotService::ListSnapshots(grpc::CallbackServerContext* context,
                                                         const v1::ListSnapshotsRequest* request,
                                                         v1::ListSnapshotsResponse* response) {
  return ServeUnary(services_, {"SnapshotService.ListSnapshots", CallKind::kRead}, context, request,
                    response, StartListSnapshots);
}

}  // namespace cairn
