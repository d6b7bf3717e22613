// A server in this process whose answers a test decides: it stands for the faults of a server and
// of the way to it, not for the server's behaviour.
#ifndef CAIRN_TESTS_CLIENT_FAULTY_SERVER_H_
#define CAIRN_TESTS_CLIENT_FAULTY_SERVER_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cairn/client/client.h"
#include "cairn/v1/operation_service.grpc.pb.h"
#include "cairn/v1/volume_service.grpc.pb.h"

namespace cairn::client::testing {

// An error as the server sends it, with an ErrorInfo.
grpc::Status Fault(grpc::StatusCode code, const std::string& reason,
                   const std::map<std::string, std::string>& metadata = {});

// Pauses of a few milliseconds, so that tests are quick.
RetryPolicy QuickRetries();

class FaultyServer : public v1::VolumeService::Service, public v1::OperationService::Service {
 public:
  FaultyServer();
  ~FaultyServer() override;

  Client MakeClient(Options options = {.retry = QuickRetries()});

  // The nth call (from 0) of each method; unset: OK with an empty answer.
  std::function<grpc::Status(int, const v1::CreateVolumeRequest&, v1::CreateVolumeResponse*)>
      on_create;
  std::function<grpc::Status(int, const v1::GetVolumeRequest&, v1::GetVolumeResponse*)> on_get;
  std::function<grpc::Status(int, const v1::ListVolumesRequest&, v1::ListVolumesResponse*)> on_list;
  std::function<grpc::Status(int, const v1::WaitOperationRequest&, v1::WaitOperationResponse*)>
      on_wait;
  std::function<grpc::Status(int, const v1::WatchOperationRequest&,
                             grpc::ServerWriter<v1::WatchOperationResponse>*)>
      on_watch_operation;
  std::function<grpc::Status(int, const v1::WatchVolumesRequest&,
                             grpc::ServerWriter<v1::WatchVolumesResponse>*)>
      on_watch_volumes;
  std::function<grpc::Status(int, const v1::ExportVolumeRequest&,
                             grpc::ServerWriter<v1::ExportVolumeResponse>*)>
      on_export;
  std::function<grpc::Status(int, grpc::ServerReader<v1::ImportVolumeRequest>*,
                             v1::ImportVolumeResponse*)>
      on_import;

  // The requests of CreateVolume, in order.
  std::vector<v1::CreateVolumeRequest> create_requests() const;
  int calls(const std::string& method) const;

 private:
  int Count(const std::string& method);

  grpc::Status CreateVolume(grpc::ServerContext*, const v1::CreateVolumeRequest* request,
                            v1::CreateVolumeResponse* response) override;
  grpc::Status GetVolume(grpc::ServerContext*, const v1::GetVolumeRequest* request,
                         v1::GetVolumeResponse* response) override;
  grpc::Status ListVolumes(grpc::ServerContext*, const v1::ListVolumesRequest* request,
                           v1::ListVolumesResponse* response) override;
  grpc::Status WaitOperation(grpc::ServerContext*, const v1::WaitOperationRequest* request,
                             v1::WaitOperationResponse* response) override;
  grpc::Status WatchOperation(grpc::ServerContext*, const v1::WatchOperationRequest* request,
                              grpc::ServerWriter<v1::WatchOperationResponse>* writer) override;
  grpc::Status WatchVolumes(grpc::ServerContext*, const v1::WatchVolumesRequest* request,
                            grpc::ServerWriter<v1::WatchVolumesResponse>* writer) override;
  grpc::Status ExportVolume(grpc::ServerContext*, const v1::ExportVolumeRequest* request,
                            grpc::ServerWriter<v1::ExportVolumeResponse>* writer) override;
  grpc::Status ImportVolume(grpc::ServerContext*,
                            grpc::ServerReader<v1::ImportVolumeRequest>* reader,
                            v1::ImportVolumeResponse* response) override;

  const std::string address_;
  mutable std::mutex mutex_;
  std::map<std::string, int> calls_;
  std::vector<v1::CreateVolumeRequest> create_requests_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace cairn::client::testing

#endif  // CAIRN_TESTS_CLIENT_FAULTY_SERVER_H_
