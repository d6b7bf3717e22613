// Calls that make an operation: the request_id that makes them safe to repeat, and the time that
// the server may hold the reply.
#ifndef CAIRN_CLIENT_INTERNAL_CHANGE_H_
#define CAIRN_CLIENT_INTERNAL_CHANGE_H_

#include <utility>

#include "cairn/client/internal/call.h"
#include "cairn/client/operation.h"
#include "cairn/client/uuid.h"

namespace cairn::client::internal {

template <typename Stub, typename Request, typename Response>
absl::StatusOr<PendingOperation> Change(const ConnectionPtr& connection, Stub* stub,
                                        grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                     const Request&, Response*),
                                        Request request, const CallOptions& options) {
  if (request.request_id().empty()) request.set_request_id(NewUuid());
  auto response = Call(*connection, stub, method, request, options, ToMilliseconds(request.wait()));
  if (!response.ok()) return response.status();
  return PendingOperation(connection, std::move(*response->mutable_operation()));
}

}  // namespace cairn::client::internal

#endif  // CAIRN_CLIENT_INTERNAL_CHANGE_H_
