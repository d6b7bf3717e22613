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

absl::Status StartListSnapshots(ServiceContext* services, Engine* engine,
                                const v1::ListSnapshotsRequest& request,
                                const std::shared_ptr<UnaryCall<v1::ListSnapshotsResponse>>& call) {
  std::string volume_id;
  if (!request.volume_id().empty()) {
    ASSIGN_OR_RETURN(volume_id, ParseId("volume_id", request.volume_id()));
  }
  return ServePage(
      services, ListQueryFrom(request), call,
      [engine, volume_id](const ListQuery& query) {
        return engine->records().ListSnapshots(query, volume_id);
      },
      [](const SnapshotRecord& snapshot) { return ToProto(snapshot); },
      [](v1::ListSnapshotsResponse* page) { return page->mutable_snapshots(); });
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
  return ServeUnary(
      services_, {"SnapshotService.ListSnapshots", CallKind::kRead}, context, request, response,
      [this](Engine* engine, const v1::ListSnapshotsRequest& asked, const auto& call) {
        return StartListSnapshots(services_, engine, asked, call);
      });
}

}  // namespace cairn
