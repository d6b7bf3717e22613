#include "server/operation_service.h"

#include <fmt/format.h>

#include "absl/time/clock.h"
#include "lib/base/id.h"
#include "server/change.h"
#include "server/operation_stream.h"
#include "server/paging.h"

namespace cairn {
namespace {

absl::Status StartGetOperation(Engine* engine, const v1::GetOperationRequest& request,
                               const std::shared_ptr<UnaryCall<v1::GetOperationResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("operation_id", request.operation_id()));
  call->Reply(OperationResponse<v1::GetOperationResponse>(*engine, engine->GetOperation(id)));
  return absl::OkStatus();
}

absl::Status StartListOperations(
    Engine* engine, const v1::ListOperationsRequest& request,
    const std::shared_ptr<UnaryCall<v1::ListOperationsResponse>>& call) {
  v1::ListOperationsResponse response;
  ASSIGN_OR_RETURN(
      *response.mutable_next_page_token(),
      FillPage(
          ListQueryFrom(request),
          [engine](const ListQuery& query) { return engine->records().ListOperations(query); },
          [engine](const OperationRecord& operation) {
            // The record in the catalog knows no progress.
            absl::StatusOr<OperationPtr> live = engine->GetOperation(operation.id);
            return ToProto(live.ok() ? **live : operation, *engine);
          },
          response.mutable_operations()));
  call->Reply(std::move(response));
  return absl::OkStatus();
}

absl::Status StartWaitOperation(Engine* engine, const v1::WaitOperationRequest& request,
                                const std::shared_ptr<UnaryCall<v1::WaitOperationResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("operation_id", request.operation_id()));
  ASSIGN_OR_RETURN(absl::Duration timeout,
                   WaitFrom(request.has_timeout(), request.timeout(),
                            {"timeout", absl::Seconds(60), absl::Minutes(10)}));
  WaitUntil(engine, id, absl::Now() + timeout, call,
            [engine, call](const absl::StatusOr<OperationPtr>& operation) {
              call->Reply(OperationResponse<v1::WaitOperationResponse>(*engine, operation));
            });
  return absl::OkStatus();
}

absl::Status StartCancelOperation(
    Engine* engine, const v1::CancelOperationRequest& request,
    const std::shared_ptr<UnaryCall<v1::CancelOperationResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("operation_id", request.operation_id()));
  ASSIGN_OR_RETURN(absl::Duration wait, WaitFrom(request.has_wait(), request.wait()));
  engine->Cancel(id, [engine, call, wait](const absl::StatusOr<OperationPtr>& operation) {
    if (!call->open()) return;
    auto reply = [engine, call](const absl::StatusOr<OperationPtr>& answer) {
      call->Reply(OperationResponse<v1::CancelOperationResponse>(*engine, answer));
    };
    if (!operation.ok()) return reply(operation);
    HoldFor(engine, *operation, wait, call, reply);
  });
  return absl::OkStatus();
}

// No operation of this version asks a consumer for anything, so none awaits an answer.
absl::Status StartReportHypervisorStep(
    Engine* engine, const v1::ReportHypervisorStepRequest& request,
    const std::shared_ptr<UnaryCall<v1::ReportHypervisorStepResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("operation_id", request.operation_id()));
  if (request.outcome_case() == v1::ReportHypervisorStepRequest::OUTCOME_NOT_SET) {
    return InvalidField("outcome", "done, failed or progress is required");
  }
  if (request.step_number() < 1) return InvalidField("step_number", "must be at least 1");
  RETURN_IF_ERROR(WaitFrom(request.has_wait(), request.wait()).status());
  RETURN_IF_ERROR(engine->GetOperation(id).status());
  return Error(Reason::kOperationNotWaiting,
               fmt::format("operation {} does not wait for a consumer", id), {{"operation", id}});
}

}  // namespace

grpc::ServerUnaryReactor* OperationService::GetOperation(grpc::CallbackServerContext* context,
                                                         const v1::GetOperationRequest* request,
                                                         v1::GetOperationResponse* response) {
  return ServeUnary(services_, {"OperationService.GetOperation", CallKind::kRead}, context, request,
                    response, StartGetOperation);
}

grpc::ServerUnaryReactor* OperationService::ListOperations(grpc::CallbackServerContext* context,
                                                           const v1::ListOperationsRequest* request,
                                                           v1::ListOperationsResponse* response) {
  return ServeUnary(services_, {"OperationService.ListOperations", CallKind::kRead}, context,
                    request, response, StartListOperations);
}

grpc::ServerUnaryReactor* OperationService::WaitOperation(grpc::CallbackServerContext* context,
                                                          const v1::WaitOperationRequest* request,
                                                          v1::WaitOperationResponse* response) {
  return ServeUnary(services_, {"OperationService.WaitOperation", CallKind::kWait}, context,
                    request, response, StartWaitOperation);
}

grpc::ServerWriteReactor<v1::WatchOperationResponse>* OperationService::WatchOperation(
    grpc::CallbackServerContext* context, const v1::WatchOperationRequest* request) {
  return ServeWriter<v1::WatchOperationResponse>(
      services_, {"OperationService.WatchOperation", CallKind::kStream}, context, request,
      StartOperationStream);
}

grpc::ServerUnaryReactor* OperationService::CancelOperation(
    grpc::CallbackServerContext* context, const v1::CancelOperationRequest* request,
    v1::CancelOperationResponse* response) {
  return ServeUnary(services_, {"OperationService.CancelOperation", CallKind::kChange}, context,
                    request, response, StartCancelOperation);
}

grpc::ServerUnaryReactor* OperationService::ReportHypervisorStep(
    grpc::CallbackServerContext* context, const v1::ReportHypervisorStepRequest* request,
    v1::ReportHypervisorStepResponse* response) {
  return ServeUnary(services_, {"OperationService.ReportHypervisorStep", CallKind::kChange},
                    context, request, response, StartReportHypervisorStep);
}

}  // namespace cairn
