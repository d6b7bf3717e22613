#include "tests/client/faulty_server.h"

#include <grpc/grpc.h>
#include <grpcpp/security/server_credentials.h>

#include <chrono>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace cairn::client::testing {

grpc::Status Fault(grpc::StatusCode code, const std::string& reason,
                   const std::map<std::string, std::string>& metadata) {
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("cairn");
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[key] = value;
  google::rpc::Status status;
  status.set_code(code);
  status.set_message("fault: " + reason);
  status.add_details()->PackFrom(info);
  return grpc::Status(code, status.message(), status.SerializeAsString());
}

RetryPolicy QuickRetries() {
  RetryPolicy policy;
  policy.initial_backoff = std::chrono::milliseconds(2);
  policy.max_backoff = std::chrono::milliseconds(20);
  policy.max_outage = std::chrono::milliseconds(500);
  return policy;
}

FaultyServer::FaultyServer() : address_("unix:/tmp/cairn-client-" + NewUuid()) {
  // gRPC stays up for the whole process: to end and begin with each test can take it ten seconds.
  static const bool kInitialized = (grpc_init(), true);
  (void)kInitialized;
  grpc::ServerBuilder builder;
  // A real transport: the one within a process differs from it where streams end early.
  builder.AddListeningPort(address_, grpc::InsecureServerCredentials());
  builder.RegisterService(static_cast<v1::VolumeService::Service*>(this));
  builder.RegisterService(static_cast<v1::OperationService::Service*>(this));
  server_ = builder.BuildAndStart();
}

FaultyServer::~FaultyServer() { server_->Shutdown(std::chrono::system_clock::now()); }

Client FaultyServer::MakeClient(Options options) {
  options.target = address_;
  return *Client::Connect(std::move(options));
}

std::vector<v1::CreateVolumeRequest> FaultyServer::create_requests() const {
  const std::lock_guard lock(mutex_);
  return create_requests_;
}

int FaultyServer::calls(const std::string& method) const {
  const std::lock_guard lock(mutex_);
  const auto entry = calls_.find(method);
  return entry == calls_.end() ? 0 : entry->second;
}

int FaultyServer::Count(const std::string& method) {
  const std::lock_guard lock(mutex_);
  return calls_[method]++;
}

grpc::Status FaultyServer::CreateVolume(grpc::ServerContext*,
                                        const v1::CreateVolumeRequest* request,
                                        v1::CreateVolumeResponse* response) {
  {
    const std::lock_guard lock(mutex_);
    create_requests_.push_back(*request);
  }
  const int n = Count("CreateVolume");
  return on_create ? on_create(n, *request, response) : grpc::Status::OK;
}

grpc::Status FaultyServer::GetVolume(grpc::ServerContext*, const v1::GetVolumeRequest* request,
                                     v1::GetVolumeResponse* response) {
  const int n = Count("GetVolume");
  return on_get ? on_get(n, *request, response) : grpc::Status::OK;
}

grpc::Status FaultyServer::ListVolumes(grpc::ServerContext*, const v1::ListVolumesRequest* request,
                                       v1::ListVolumesResponse* response) {
  const int n = Count("ListVolumes");
  return on_list ? on_list(n, *request, response) : grpc::Status::OK;
}

grpc::Status FaultyServer::WaitOperation(grpc::ServerContext*,
                                         const v1::WaitOperationRequest* request,
                                         v1::WaitOperationResponse* response) {
  const int n = Count("WaitOperation");
  return on_wait ? on_wait(n, *request, response) : grpc::Status::OK;
}

grpc::Status FaultyServer::WatchOperation(grpc::ServerContext*,
                                          const v1::WatchOperationRequest* request,
                                          grpc::ServerWriter<v1::WatchOperationResponse>* writer) {
  const int n = Count("WatchOperation");
  return on_watch_operation ? on_watch_operation(n, *request, writer) : grpc::Status::OK;
}

grpc::Status FaultyServer::WatchVolumes(grpc::ServerContext*,
                                        const v1::WatchVolumesRequest* request,
                                        grpc::ServerWriter<v1::WatchVolumesResponse>* writer) {
  const int n = Count("WatchVolumes");
  return on_watch_volumes ? on_watch_volumes(n, *request, writer) : grpc::Status::OK;
}

grpc::Status FaultyServer::ExportVolume(grpc::ServerContext*,
                                        const v1::ExportVolumeRequest* request,
                                        grpc::ServerWriter<v1::ExportVolumeResponse>* writer) {
  const int n = Count("ExportVolume");
  return on_export ? on_export(n, *request, writer) : grpc::Status::OK;
}

grpc::Status FaultyServer::ImportVolume(grpc::ServerContext*,
                                        grpc::ServerReader<v1::ImportVolumeRequest>* reader,
                                        v1::ImportVolumeResponse* response) {
  const int n = Count("ImportVolume");
  return on_import ? on_import(n, reader, response) : grpc::Status::OK;
}

}  // namespace cairn::client::testing
