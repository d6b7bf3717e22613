// What every changing method does: submit the change, hold the reply for a while, answer with the
// operation.
//
// A refusal is the call's error. Once the operation is recorded the call succeeds with the
// operation as it is, be it running or failed; see operation.proto. The operation never depends on
// the call.
#ifndef CAIRN_SERVER_CHANGE_H_
#define CAIRN_SERVER_CHANGE_H_

#include <memory>
#include <string>
#include <utility>

#include "server/convert.h"
#include "server/unary.h"
#include "server/wire_field.h"

namespace cairn {

// Submits `request`, then as HoldFor. A null operation (validate_only) is replied as it is.
void SubmitAndHold(Engine* engine, Request request, Caller caller, absl::Duration wait,
                   const std::shared_ptr<Call>& call, OperationCallback reply);
// Calls `reply` when the operation has ended or `wait` is over, and in time before the call's
// deadline.
void HoldFor(Engine* engine, const OperationPtr& operation, absl::Duration wait,
             const std::shared_ptr<Call>& call, OperationCallback reply);
// Calls `reply` when the operation has ended or at `until`; stops waiting when the call is
// abandoned.
void WaitUntil(Engine* engine, const std::string& operation_id, MonotonicTime until,
               const std::shared_ptr<Call>& call, OperationCallback reply);

// Notes in the log what the request is about.
template <typename Request>
void NoteTargets(const Request& request, Call* call) {
  if constexpr (requires { request.volume_id(); }) call->Note("volume", request.volume_id());
  if constexpr (requires { request.snapshot_id(); }) call->Note("snapshot", request.snapshot_id());
  if constexpr (requires { request.operation_id(); }) call->Note("op", request.operation_id());
  if constexpr (requires { request.request_id(); }) call->Note("request_id", request.request_id());
}

template <typename Request>
Caller CallerOf(const Request& request, const Call& call) {
  return {request.request_id(), call.peer(), request.validate_only()};
}

template <typename Response>
absl::StatusOr<Response> OperationResponse(const Engine& engine,
                                           const absl::StatusOr<OperationPtr>& operation) {
  if (!operation.ok()) return NameWireField(operation.status());
  Response response;
  if (*operation != nullptr) *response.mutable_operation() = ToProto(**operation, engine);
  return response;
}

// The start function of a changing method.
struct StartChange {
  template <typename Request, typename Response>
  absl::Status operator()(Engine* engine, const Request& request,
                          const std::shared_ptr<UnaryCall<Response>>& call) const {
    NoteTargets(request, call.get());
    ASSIGN_OR_RETURN(auto change, FromProto(request));
    ASSIGN_OR_RETURN(absl::Duration wait, WaitFrom(request.has_wait(), request.wait()));
    SubmitAndHold(engine, std::move(change), CallerOf(request, *call), wait, call,
                  [engine, call](const absl::StatusOr<OperationPtr>& operation) {
                    call->Reply(OperationResponse<Response>(*engine, operation));
                  });
    return absl::OkStatus();
  }
};

}  // namespace cairn

#endif  // CAIRN_SERVER_CHANGE_H_
