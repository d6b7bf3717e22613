// Waiting for an operation over streams that may break.
#ifndef CAIRN_CLIENT_INTERNAL_WAIT_H_
#define CAIRN_CLIENT_INTERNAL_WAIT_H_

#include <string>

#include "absl/status/statusor.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/operation.h"

namespace cairn::client::internal {

// The operation as it has ended, whatever its end; or the error of the waiting.
absl::StatusOr<v1::Operation> WaitForEnd(const Connection& connection, const std::string& id,
                                         const WaitOptions& options);

}  // namespace cairn::client::internal

#endif  // CAIRN_CLIENT_INTERNAL_WAIT_H_
