// Errors of the storage core: absl::Status with a machine-readable reason.
//
// Every error that a user may see is made with Error(), so that it carries a Reason (which fixes
// the canonical code) and metadata naming what it was about: the field, the volume, the share. The
// server turns these into google.rpc.ErrorInfo. Thread-safe: values only.
//
//   if (size_bytes <= 0)
//     return InvalidField("size_bytes", "must be positive", size_bytes);
//   RETURN_IF_ERROR(files->Unlink(path));
//   ASSIGN_OR_RETURN(auto header, ReadQcow2Header(file));
#ifndef CAIRN_LIB_BASE_STATUS_H_
#define CAIRN_LIB_BASE_STATUS_H_

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cairn {

// Why something was refused or failed. The names are part of the public contract
// (ErrorInfo.reason): never renamed, only added to. The canonical code of each stands beside it.
enum class Reason {
  kInternal,            // INTERNAL
  kInvalidField,        // INVALID_ARGUMENT; metadata: field
  kInvalidFilter,       // INVALID_ARGUMENT
  kInvalidPageToken,    // INVALID_ARGUMENT
  kChecksumMismatch,    // INVALID_ARGUMENT
  kVolumeNotFound,      // NOT_FOUND
  kSnapshotNotFound,    // NOT_FOUND
  kAttachmentNotFound,  // NOT_FOUND
  kOperationNotFound,   // NOT_FOUND
  kPoolNotFound,        // NOT_FOUND
  kShareNotFound,       // NOT_FOUND
  kFileNotFound,        // NOT_FOUND
  kVolumeExists,        // ALREADY_EXISTS
  kSnapshotExists,      // ALREADY_EXISTS
  kFileExists,          // ALREADY_EXISTS
  kRequestIdReused,     // ALREADY_EXISTS: same request_id, another request
  kVolumeState,         // FAILED_PRECONDITION; metadata: state, operation
  kSnapshotState,       // FAILED_PRECONDITION
  kVolumeInUse,         // FAILED_PRECONDITION; metadata: attachment, instance
  kVolumeHasSnapshots,  // FAILED_PRECONDITION; metadata: snapshots
  kSnapshotNotNewest,   // FAILED_PRECONDITION; metadata: newer
  kCatalogOlder,        // FAILED_PRECONDITION: the share knows of changes that the catalog lacks
  kSnapshotsDisabled,   // FAILED_PRECONDITION
  kBackingFileShared,   // FAILED_PRECONDITION: another file also uses it
  kImageUnsafe,         // FAILED_PRECONDITION: points outside its chain, or is no plain file
  kImageMismatch,       // FAILED_PRECONDITION: format or size is not the recorded one
  kShareNotWritable,    // FAILED_PRECONDITION
  kFileTooLarge,        // FAILED_PRECONDITION
  kShareOwned,          // FAILED_PRECONDITION: another server owns it
  kOperationNotCancellable,  // FAILED_PRECONDITION
  kOperationNotWaiting,      // FAILED_PRECONDITION: no consumer's answer is awaited
  kOperationNotParked,       // FAILED_PRECONDITION: nothing is in its way
  kHypervisorMismatch,       // FAILED_PRECONDITION: no such disk, or other files open
  kHypervisorFailed,         // FAILED_PRECONDITION: it refused, or its job failed
  kToolMissing,            // FAILED_PRECONDITION: qemu-img, mount.nfs ...; metadata: tool, package
  kPathForbidden,          // PERMISSION_DENIED: image_path outside the allowed directories
  kNoSpace,                // RESOURCE_EXHAUSTED; metadata: requested, available
  kNoEligibleShare,        // RESOURCE_EXHAUSTED; metadata: requested
  kTooManyCalls,           // RESOURCE_EXHAUSTED: the server has as many calls in hand as it takes
  kQueueFull,              // ABORTED: too many operations wait for this volume
  kRevisionMismatch,       // ABORTED
  kInterrupted,            // ABORTED: the server stopped and this cannot be resumed
  kShareUnavailable,       // UNAVAILABLE; metadata: share, since
  kShareReplaced,          // UNAVAILABLE: another one lies there; metadata: share, expected, found
  kHypervisorUnavailable,  // UNAVAILABLE; metadata: address
  kPoolUnavailable,        // UNAVAILABLE: no share of the pool can be used
  kCatalogUnavailable,     // UNAVAILABLE; metadata: since: the server's records are read only
  kStarting,               // UNAVAILABLE: the server takes up what was interrupted
  kShuttingDown,           // UNAVAILABLE
  kCancelled,              // CANCELLED
  kDeadline,               // DEADLINE_EXCEEDED
  kWatchRevisionTooOld,    // OUT_OF_RANGE
  kWatchTooSlow,           // ABORTED: the reader fell behind; start again
  kMapCorrupt,             // DATA_LOSS: .info unreadable or contradictory
  kChainCorrupt,           // DATA_LOSS: loop, missing file, wrong backing
  kImageCorrupt,           // DATA_LOSS: a qcow2 header that cannot be right
  kIoError,                // DATA_LOSS: EIO on a file
  kAbandoned,              // DATA_LOSS: an administrator has abandoned it half-way
  kToolFailed,             // INTERNAL: a child process failed; metadata: tool
};

// "VOLUME_NOT_FOUND" for kVolumeNotFound.
std::string_view ReasonName(Reason reason);
absl::StatusCode ReasonCode(Reason reason);
std::optional<Reason> ReasonFromName(std::string_view name);

using ErrorMetadata = std::map<std::string, std::string>;

// What Error() attached. `retry` is not stored: UNAVAILABLE and ABORTED may be retried as they are.
struct ErrorDetails {
  Reason reason = Reason::kInternal;
  ErrorMetadata metadata;
};

absl::Status Error(Reason reason, std::string message, ErrorMetadata metadata = {});

// INVALID_ARGUMENT with metadata {field, value}; message "field: problem (got value)".
absl::Status InvalidField(std::string_view field, std::string_view problem,
                          std::string_view value = {});

// The details of a status made with Error(); otherwise nothing.
std::optional<ErrorDetails> GetErrorDetails(const absl::Status& status);
bool HasReason(const absl::Status& status, Reason reason);

// The same error with "context: " before its message and more metadata; details are kept. OK stays
// OK.
absl::Status Annotate(const absl::Status& status, std::string_view context,
                      const ErrorMetadata& more = {});

// The error for a failed system call: "attempted: strerror". The code follows our own table,
// because absl::ErrnoToStatus does not fit files on a share (EIO, ESTALE, EACCES ...).
absl::Status ErrnoError(int error_number, std::string_view attempted, ErrorMetadata metadata = {});

// For logs: "CODE: message [REASON k=v ...]".
std::string Describe(const absl::Status& status);

}  // namespace cairn

#define RETURN_IF_ERROR(expr)                                                           \
  do {                                                                                  \
    if (absl::Status cairn_status_ = (expr); !cairn_status_.ok()) return cairn_status_; \
  } while (false)

#define CAIRN_CONCAT_INNER_(a, b) a##b
#define CAIRN_CONCAT_(a, b) CAIRN_CONCAT_INNER_(a, b)
#define CAIRN_ASSIGN_OR_RETURN_(result, lhs, expr)     \
  auto result = (expr);                                \
  if (!result.ok()) return std::move(result).status(); \
  lhs = *std::move(result)
// ASSIGN_OR_RETURN(auto x, MakeX()): lhs may declare a variable.
#define ASSIGN_OR_RETURN(lhs, ...) \
  CAIRN_ASSIGN_OR_RETURN_(CAIRN_CONCAT_(cairn_result_, __LINE__), lhs, (__VA_ARGS__))

#endif  // CAIRN_LIB_BASE_STATUS_H_
