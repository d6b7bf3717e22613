// What OperationRecord.request holds: the request as filled in by admission and its locks, which a
// restart begins again with, and a digest of the request as asked, which tells a retry under the
// same request_id from another request. Of an ended operation only the digest is left.
//
//   {"asked_sha256": hex, "request": the request as JSON text, "locks": [[key, exclusive], ...]}
//
// Earlier versions kept the request as asked in full ("asked"), ended or not; it is still read.
#ifndef CAIRN_LIB_ENGINE_JOURNAL_REQUEST_H_
#define CAIRN_LIB_ENGINE_JOURNAL_REQUEST_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/engine/requests.h"
#include "lib/exec/lock_queue.h"

namespace cairn {

struct JournalledRequest {
  Request request;
  std::vector<LockKey> locks;
};

// `asked` is the request as JSON before anything was filled in; empty when there is no request_id,
// which nobody can retry.
std::string ToJournal(std::string_view asked, const Request& filled,
                      const std::vector<LockKey>& locks);
absl::StatusOr<JournalledRequest> FromJournal(OperationKind kind, std::string_view journalled);

// What is left at the end of the operation; empty when nobody can ask for more.
std::string JournalAtEnd(std::string_view journalled);

bool WasAsked(std::string_view journalled, std::string_view asked);

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_JOURNAL_REQUEST_H_
