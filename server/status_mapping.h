// Errors of the core as the wire has them: the only place that knows both absl and gRPC.
//
// Every error carries a google.rpc.Status with an ErrorInfo (reason, domain "cairn", metadata), a
// BadRequest where a field is wrong, and a RetryInfo where waiting helps. What is sent is bounded:
// it travels in HTTP/2 headers, of which clients take 8 KiB.
#ifndef CAIRN_SERVER_STATUS_MAPPING_H_
#define CAIRN_SERVER_STATUS_MAPPING_H_

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace cairn {

inline constexpr std::string_view kErrorDomain = "cairn";

// For Operation.error; OK gives code 0.
google::rpc::Status ToRpcStatus(const absl::Status& status);
// For the end of a call.
grpc::Status ToGrpcStatus(const absl::Status& status);

// The reason's name, or the code's for an error without one; for logs. "" for OK.
std::string ReasonText(const absl::Status& status);

}  // namespace cairn

#endif  // CAIRN_SERVER_STATUS_MAPPING_H_
