// SnapshotService: turns calls into engine calls. Holds no state.
#ifndef CAIRN_SERVER_SNAPSHOT_SERVICE_H_
#define CAIRN_SERVER_SNAPSHOT_SERVICE_H_

#include "cairn/v1/snapshot_service.grpc.pb.h"
#include "server/service_context.h"

namespace cairn {

class SnapshotService final : public v1::SnapshotService::CallbackService {
 public:
  explicit SnapshotService(ServiceContext* services) : services_(services) {}

  grpc::ServerUnaryReactor* CreateSnapshot(grpc::CallbackServerContext* context,
                                           const v1::CreateSnapshotRequest* request,
                                           v1::CreateSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* GetSnapshot(grpc::CallbackServerContext* context,
                                        const v1::GetSnapshotRequest* request,
                                        v1::GetSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* ListSnapshots(grpc::CallbackServerContext* context,
                                          const v1::ListSnapshotsRequest* request,
                                          v1::ListSnapshotsResponse* response) override;
  grpc::ServerUnaryReactor* UpdateSnapshot(grpc::CallbackServerContext* context,
                                           const v1::UpdateSnapshotRequest* request,
                                           v1::UpdateSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* DeleteSnapshot(grpc::CallbackServerContext* context,
                                           const v1::DeleteSnapshotRequest* request,
                                           v1::DeleteSnapshotResponse* response) override;
  grpc::ServerUnaryReactor* RevertToSnapshot(grpc::CallbackServerContext* context,
                                             const v1::RevertToSnapshotRequest* request,
                                             v1::RevertToSnapshotResponse* response) override;

 private:
  ServiceContext* const services_;
};

}  // namespace cairn

#endif  // CAIRN_SERVER_SNAPSHOT_SERVICE_H_
