#include "cairnctl/exit_code.h"

namespace cairn::cairnctl {

const char kExitCodesHelp[] =
    R"(Exit codes:
  0    done
  1    internal or unknown error
  2    wrong usage, or INVALID_ARGUMENT
  3    NOT_FOUND
  4    conflict: ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED
  5    RESOURCE_EXHAUSTED: no room
  6    temporary: UNAVAILABLE, DEADLINE_EXCEEDED (also --timeout: the operation goes on)
  7    CANCELLED: the operation was cancelled
  8    PERMISSION_DENIED, UNAUTHENTICATED
  9    DATA_LOSS: files or content are damaged
  130  ended by Ctrl-C (an operation that was waited for goes on))";

int ExitCodeFor(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return 0;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
      return kExitUsage;
    case absl::StatusCode::kNotFound:
      return 3;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAborted:
      return 4;
    case absl::StatusCode::kResourceExhausted:
      return 5;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return 6;
    case absl::StatusCode::kCancelled:
      return 7;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
      return 8;
    case absl::StatusCode::kDataLoss:
      return 9;
    default:
      return 1;
  }
}

}  // namespace cairn::cairnctl
