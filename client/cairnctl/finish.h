// What happens after a change was asked for: waiting with progress, and showing what came of it.
#ifndef CAIRN_CLIENT_CAIRNCTL_FINISH_H_
#define CAIRN_CLIENT_CAIRNCTL_FINISH_H_

#include <string>

#include "absl/status/statusor.h"
#include "cairn/client/client.h"
#include "cairnctl/session.h"

namespace cairn::cairnctl {

// Waits for the end, with a progress bar. After Ctrl-C or --timeout it says how to take it up
// again.
absl::StatusOr<v1::Operation> WaitWithProgress(Session* session,
                                               const client::PendingOperation& pending);

// Waits (unless --no-wait) and shows the result: the volume, snapshot or attachment as it is then,
// else `done`, a sentence about it. With --quiet the result's id alone.
absl::Status Finish(Session* session, const absl::StatusOr<client::PendingOperation>& pending,
                    const std::string& done);

// An operation that has ended, as Finish shows it. Of a group all snapshots are shown, for which
// the server is asked.
absl::Status ShowResult(Session* session, const v1::Operation& operation, const std::string& done);

}  // namespace cairn::cairnctl

#endif  // CAIRN_CLIENT_CAIRNCTL_FINISH_H_
