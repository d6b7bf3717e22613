#include "cairn/client/operation.h"

#include <utility>

#include "cairn/client/errors.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/internal/wait.h"

namespace cairn::client {

bool HasEnded(const v1::Operation& operation) {
  return operation.state() == v1::OPERATION_STATE_SUCCEEDED ||
         operation.state() == v1::OPERATION_STATE_FAILED ||
         operation.state() == v1::OPERATION_STATE_CANCELLED ||
         operation.state() == v1::OPERATION_STATE_ABANDONED;
}

absl::StatusOr<v1::Operation> ToResult(const v1::Operation& operation) {
  if (operation.state() == v1::OPERATION_STATE_SUCCEEDED) return operation;
  if (!HasEnded(operation)) return absl::FailedPreconditionError("the operation has not ended");
  absl::Status error = StatusFromProto(operation.error());
  if (!error.ok()) return error;
  return operation.state() == v1::OPERATION_STATE_CANCELLED
             ? absl::CancelledError("the operation was cancelled")
             : absl::UnknownError("the operation failed; the server gave no reason");
}

PendingOperation::PendingOperation(std::shared_ptr<const internal::Connection> connection,
                                   v1::Operation operation)
    : connection_(std::move(connection)), operation_(std::move(operation)) {}

absl::StatusOr<v1::Operation> PendingOperation::Wait(const WaitOptions& options) const {
  if (id().empty()) return v1::Operation();
  if (HasEnded(operation_)) {
    if (options.on_progress) options.on_progress(operation_);
    return ToResult(operation_);
  }
  auto ended = internal::WaitForEnd(*connection_, id(), options);
  if (!ended.ok()) return ended.status();
  return ToResult(*ended);
}

std::future<absl::StatusOr<v1::Operation>> PendingOperation::WaitAsync(WaitOptions options) const {
  // The copy keeps the connection alive for as long as the thread lives.
  return std::async(std::launch::async,
                    [self = *this, options = std::move(options)] { return self.Wait(options); });
}

absl::StatusOr<v1::Operation> PendingOperation::Cancel(const CallOptions& options) const {
  v1::CancelOperationRequest request;
  request.set_operation_id(id());
  auto response =
      internal::Call(*connection_, connection_->operations.get(),
                     &v1::OperationService::StubInterface::CancelOperation, request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_operation());
}

}  // namespace cairn::client
