#include <utility>

#include "cairn/client/client.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/internal/list.h"

namespace cairn::client {

namespace {
using Stub = v1::OperationService::StubInterface;
}  // namespace

absl::StatusOr<v1::Operation> Client::GetOperation(const std::string& operation_id,
                                                   const CallOptions& options) const {
  v1::GetOperationRequest request;
  request.set_operation_id(operation_id);
  auto response = internal::Call(*connection_, connection_->operations.get(), &Stub::GetOperation,
                                 request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_operation());
}

absl::StatusOr<PendingOperation> Client::GetPendingOperation(const std::string& operation_id,
                                                             const CallOptions& options) const {
  auto operation = GetOperation(operation_id, options);
  if (!operation.ok()) return operation.status();
  return PendingOperation(connection_, *std::move(operation));
}

absl::StatusOr<v1::ListOperationsResponse> Client::ListOperations(
    const v1::ListOperationsRequest& request, const CallOptions& options) const {
  return internal::Call(*connection_, connection_->operations.get(), &Stub::ListOperations, request,
                        options);
}

PageRange<v1::Operation> Client::Operations(v1::ListOperationsRequest request,
                                            CallOptions options) const {
  return internal::MakePages<v1::Operation>(
      connection_, connection_->operations.get(), &Stub::ListOperations, std::move(request),
      std::move(options),
      [](v1::ListOperationsResponse* page) { return page->mutable_operations(); });
}

absl::StatusOr<v1::Operation> Client::WaitOperation(const v1::WaitOperationRequest& request,
                                                    const CallOptions& options) const {
  // Without a timeout of its own the server waits a minute.
  const auto held = request.has_timeout() ? internal::ToMilliseconds(request.timeout())
                                          : std::chrono::milliseconds(60'000);
  auto response = internal::Call(*connection_, connection_->operations.get(), &Stub::WaitOperation,
                                 request, options, held);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_operation());
}

absl::StatusOr<v1::Operation> Client::CancelOperation(const v1::CancelOperationRequest& request,
                                                      const CallOptions& options) const {
  auto response =
      internal::Call(*connection_, connection_->operations.get(), &Stub::CancelOperation, request,
                     options, internal::ToMilliseconds(request.wait()));
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_operation());
}

absl::StatusOr<v1::Operation> Client::AbandonOperation(const v1::AbandonOperationRequest& request,
                                                       const CallOptions& options) const {
  auto response = internal::Call(*connection_, connection_->operations.get(),
                                 &Stub::AbandonOperation, request, options);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_operation());
}

absl::StatusOr<v1::Operation> Client::ReportHypervisorStep(
    const v1::ReportHypervisorStepRequest& request, const CallOptions& options) const {
  auto response =
      internal::Call(*connection_, connection_->operations.get(), &Stub::ReportHypervisorStep,
                     request, options, internal::ToMilliseconds(request.wait()));
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_operation());
}

}  // namespace cairn::client
