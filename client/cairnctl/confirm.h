// Asking before something is lost.
#ifndef CAIRN_CLIENT_CAIRNCTL_CONFIRM_H_
#define CAIRN_CLIENT_CAIRNCTL_CONFIRM_H_

#include <string>

#include "absl/status/status.h"
#include "cairnctl/session.h"

namespace cairn::cairnctl {

// Asks on the terminal, wherever stdin and stderr lead to, and waits for the answer. OK: go on. OK
// without asking when `yes` is set, and with --dry-run, which loses nothing. CANCELLED, with
// `refused` as its message: the answer was not yes. INVALID_ARGUMENT: there is no terminal, and
// nobody has said --yes.
absl::Status Confirm(const Session& session, bool yes, const std::string& question,
                     const std::string& refused);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_CONFIRM_H_
