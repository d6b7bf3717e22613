#include "server/operation_service.h"

#include <fmt/format.h>

#include "lib/base/id.h"
#include "server/change.h"
#include "server/operation_stream.h"
#include "server/paging.h"
#include "server/utf8.h"

namespace cairn {
namespace {

constexpr size_t kFailureMessageMax = 1024;  // bytes, as the contract says

absl::Status StartGetOperation(Engine* engine, const v1::GetOperationRequest& request,
                               const std::shared_ptr<UnaryCall<v1::GetOperationResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("operation_id", request.operation_id()));
  call->Reply(OperationResponse<v1::GetOperationResponse>(*engine, engine->GetOperation(id)));
  return absl::OkStatus();
}

absl::Status StartListOperations(
    ServiceContext* services, Engine* engine, const v1::ListOperationsRequest& request,
    const std::shared_ptr<UnaryCall<v1::ListOperationsResponse>>& call) {
  return ServePage(
      services, ListQueryFrom(request), call,
      [engine](const ListQuery& query) { return engine->records().ListOperations(query); },
      [engine](const OperationRecord& operation) {
        if (Ended(operation.state)) return ToProto(operation, *engine);
        // The record in the catalog knows no progress.
        absl::StatusOr<OperationPtr> live = engine->GetOperation(operation.id);
        return ToProto(live.ok() ? **live : operation, *engine);
      },
      [](v1::ListOperationsResponse* page) { return page->mutable_operations(); });
}

absl::Status StartWaitOperation(Engine* engine, const v1::WaitOperationRequest& request,
                                const std::shared_ptr<UnaryCall<v1::WaitOperationResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("operation_id", request.operation_id()));
  ASSIGN_OR_RETURN(absl::Duration timeout,
                   WaitFrom(request.has_timeout(), request.timeout(),
                            {"timeout", absl::Seconds(60), absl::Minutes(10)}));
  WaitUntil(engine, id, MonotonicTime::Now() + timeout, call,
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

absl::Status StartAbandonOperation(
    Engine* engine, const v1::AbandonOperationRequest& request,
    const std::shared_ptr<UnaryCall<v1::AbandonOperationResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("operation_id", request.operation_id()));
  engine->Abandon(id, request.reason(), [engine, call](const absl::StatusOr<OperationPtr>& ended) {
    call->Reply(OperationResponse<v1::AbandonOperationResponse>(*engine, ended));
  });
  return absl::OkStatus();
}

absl::StatusOr<ConsumerReport> ReportFrom(const v1::ReportHypervisorStepRequest& request) {
  ConsumerReport report;
  if (request.step_number() < 1) return InvalidField("step_number", "must be at least 1");
  report.step = request.step_number();
  switch (request.outcome_case()) {
    case v1::ReportHypervisorStepRequest::OUTCOME_NOT_SET:
      return InvalidField("outcome", "done, failed or progress is required");
    case v1::ReportHypervisorStepRequest::kDone:
      report.kind = ConsumerReport::Kind::kDone;
      break;
    case v1::ReportHypervisorStepRequest::kFailed:
      report.kind = ConsumerReport::Kind::kFailed;
      report.message = ValidUtf8(request.failed().message(), kFailureMessageMax);
      report.begun = request.failed().begun();
      break;
    case v1::ReportHypervisorStepRequest::kProgress:
      report.kind = ConsumerReport::Kind::kProgress;
      report.done_bytes = request.progress().done_bytes();
      report.total_bytes = request.progress().total_bytes();
      if (report.done_bytes < 0 || report.total_bytes < 0) {
        return InvalidField("progress", "must not be negative");
      }
      break;
  }
  return report;
}

absl::Status StartReportHypervisorStep(
    Engine* engine, const v1::ReportHypervisorStepRequest& request,
    const std::shared_ptr<UnaryCall<v1::ReportHypervisorStepResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("operation_id", request.operation_id()));
  ASSIGN_OR_RETURN(ConsumerReport report, ReportFrom(request));
  ASSIGN_OR_RETURN(absl::Duration wait, WaitFrom(request.has_wait(), request.wait()));
  const bool held = report.kind != ConsumerReport::Kind::kProgress;
  engine->Report(
      id, std::move(report),
      [engine, call, wait, held](const absl::StatusOr<OperationPtr>& operation) {
        if (!call->open()) return;
        auto reply = [engine, call](const absl::StatusOr<OperationPtr>& answer) {
          call->Reply(OperationResponse<v1::ReportHypervisorStepResponse>(*engine, answer));
        };
        if (!operation.ok() || !held) return reply(operation);
        HoldFor(engine, *operation, wait, call, reply);
      });
  return absl::OkStatus();
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
  return ServeUnary(
      services_, {"OperationService.ListOperations", CallKind::kRead}, context, request, response,
      [this](Engine* engine, const v1::ListOperationsRequest& asked, const auto& call) {
        return StartListOperations(services_, engine, asked, call);
      });
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

grpc::ServerUnaryReactor* OperationService::AbandonOperation(
    grpc::CallbackServerContext* context, const v1::AbandonOperationRequest* request,
    v1::AbandonOperationResponse* response) {
  return ServeUnary(services_, {"OperationService.AbandonOperation", CallKind::kChange}, context,
                    request, response, StartAbandonOperation);
}

grpc::ServerUnaryReactor* OperationService::ReportHypervisorStep(
    grpc::CallbackServerContext* context, const v1::ReportHypervisorStepRequest* request,
    v1::ReportHypervisorStepResponse* response) {
  return ServeUnary(services_, {"OperationService.ReportHypervisorStep", CallKind::kChange},
                    context, request, response, StartReportHypervisorStep);
}

}  // namespace cairn
