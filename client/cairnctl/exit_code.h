// The exit codes of cairnctl: the class of the error, for scripts. Part of the interface.
//
//   0    done
//   1    internal or unknown error
//   2    wrong usage, or INVALID_ARGUMENT
//   3    NOT_FOUND
//   4    conflict: ALREADY_EXISTS, FAILED_PRECONDITION, ABORTED
//   5    RESOURCE_EXHAUSTED: no room
//   6    temporary: UNAVAILABLE, DEADLINE_EXCEEDED (also --timeout: the operation goes on)
//   7    CANCELLED: the operation was cancelled
//   8    PERMISSION_DENIED, UNAUTHENTICATED
//   9    DATA_LOSS: files or content are damaged
//   130  ended by Ctrl-C (an operation that was waited for goes on)
#ifndef CAIRN_CLIENT_CAIRNCTL_EXIT_CODE_H_
#define CAIRN_CLIENT_CAIRNCTL_EXIT_CODE_H_

#include "absl/status/status.h"

namespace cairn::cairnctl {

inline constexpr int kExitUsage = 2;
inline constexpr int kExitInterrupted = 130;

int ExitCodeFor(const absl::Status& status);

// The table above, for --help.
extern const char kExitCodesHelp[];

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_EXIT_CODE_H_
