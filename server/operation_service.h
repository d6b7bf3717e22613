// OperationService: turns calls into engine calls. Holds no state.
#ifndef CAIRN_SERVER_OPERATION_SERVICE_H_
#define CAIRN_SERVER_OPERATION_SERVICE_H_

#include "cairn/v1/operation_service.grpc.pb.h"
#include "server/service_context.h"

namespace cairn {

class OperationService final : public v1::OperationService::CallbackService {
 public:
  explicit OperationService(ServiceContext* services) : services_(services) {}

  grpc::ServerUnaryReactor* GetOperation(grpc::CallbackServerContext* context,
                                         const v1::GetOperationRequest* request,
                                         v1::GetOperationResponse* response) override;
  grpc::ServerUnaryReactor* ListOperations(grpc::CallbackServerContext* context,
                                           const v1::ListOperationsRequest* request,
                                           v1::ListOperationsResponse* response) override;
  grpc::ServerUnaryReactor* WaitOperation(grpc::CallbackServerContext* context,
                                          const v1::WaitOperationRequest* request,
                                          v1::WaitOperationResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchOperationResponse>* WatchOperation(
      grpc::CallbackServerContext* context, const v1::WatchOperationRequest* request) override;
  grpc::ServerUnaryReactor* CancelOperation(grpc::CallbackServerContext* context,
                                            const v1::CancelOperationRequest* request,
                                            v1::CancelOperationResponse* response) override;
  grpc::ServerUnaryReactor* AbandonOperation(grpc::CallbackServerContext* context,
                                             const v1::AbandonOperationRequest* request,
                                             v1::AbandonOperationResponse* response) override;
  grpc::ServerUnaryReactor* ReportHypervisorStep(
      grpc::CallbackServerContext* context, const v1::ReportHypervisorStepRequest* request,
      v1::ReportHypervisorStepResponse* response) override;

 private:
  ServiceContext* const services_;
};

}  // namespace cairn

#endif  // CAIRN_SERVER_OPERATION_SERVICE_H_
