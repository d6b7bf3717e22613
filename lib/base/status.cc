#include "lib/base/status.h"

#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>

#include "lib/base/strings.h"

namespace cairn {
namespace {

struct ReasonEntry {
  Reason reason;
  const char* name;
  absl::StatusCode code;
};

using enum absl::StatusCode;

constexpr std::array kReasons = {
    ReasonEntry{Reason::kInternal, "INTERNAL", kInternal},
    ReasonEntry{Reason::kInvalidField, "INVALID_FIELD", kInvalidArgument},
    ReasonEntry{Reason::kInvalidFilter, "INVALID_FILTER", kInvalidArgument},
    ReasonEntry{Reason::kInvalidPageToken, "INVALID_PAGE_TOKEN", kInvalidArgument},
    ReasonEntry{Reason::kChecksumMismatch, "CHECKSUM_MISMATCH", kInvalidArgument},
    ReasonEntry{Reason::kVolumeNotFound, "VOLUME_NOT_FOUND", kNotFound},
    ReasonEntry{Reason::kSnapshotNotFound, "SNAPSHOT_NOT_FOUND", kNotFound},
    ReasonEntry{Reason::kAttachmentNotFound, "ATTACHMENT_NOT_FOUND", kNotFound},
    ReasonEntry{Reason::kOperationNotFound, "OPERATION_NOT_FOUND", kNotFound},
    ReasonEntry{Reason::kPoolNotFound, "POOL_NOT_FOUND", kNotFound},
    ReasonEntry{Reason::kShareNotFound, "SHARE_NOT_FOUND", kNotFound},
    ReasonEntry{Reason::kFileNotFound, "FILE_NOT_FOUND", kNotFound},
    ReasonEntry{Reason::kVolumeExists, "VOLUME_EXISTS", kAlreadyExists},
    ReasonEntry{Reason::kSnapshotExists, "SNAPSHOT_EXISTS", kAlreadyExists},
    ReasonEntry{Reason::kFileExists, "FILE_EXISTS", kAlreadyExists},
    ReasonEntry{Reason::kRequestIdReused, "REQUEST_ID_REUSED", kAlreadyExists},
    ReasonEntry{Reason::kVolumeState, "VOLUME_STATE", kFailedPrecondition},
    ReasonEntry{Reason::kSnapshotState, "SNAPSHOT_STATE", kFailedPrecondition},
    ReasonEntry{Reason::kVolumeInUse, "VOLUME_IN_USE", kFailedPrecondition},
    ReasonEntry{Reason::kVolumeHasSnapshots, "VOLUME_HAS_SNAPSHOTS", kFailedPrecondition},
    ReasonEntry{Reason::kSnapshotNotNewest, "SNAPSHOT_NOT_NEWEST", kFailedPrecondition},
    ReasonEntry{Reason::kCatalogOlder, "CATALOG_OLDER", kFailedPrecondition},
    ReasonEntry{Reason::kSnapshotsDisabled, "SNAPSHOTS_DISABLED", kFailedPrecondition},
    ReasonEntry{Reason::kBackingFileShared, "BACKING_FILE_SHARED", kFailedPrecondition},
    ReasonEntry{Reason::kImageUnsafe, "IMAGE_UNSAFE", kFailedPrecondition},
    ReasonEntry{Reason::kImageMismatch, "IMAGE_MISMATCH", kFailedPrecondition},
    ReasonEntry{Reason::kShareNotWritable, "SHARE_NOT_WRITABLE", kFailedPrecondition},
    ReasonEntry{Reason::kFileTooLarge, "FILE_TOO_LARGE", kFailedPrecondition},
    ReasonEntry{Reason::kShareOwned, "SHARE_OWNED", kFailedPrecondition},
    ReasonEntry{Reason::kOperationNotCancellable, "OPERATION_NOT_CANCELLABLE", kFailedPrecondition},
    ReasonEntry{Reason::kOperationNotWaiting, "OPERATION_NOT_WAITING", kFailedPrecondition},
    ReasonEntry{Reason::kOperationNotParked, "OPERATION_NOT_PARKED", kFailedPrecondition},
    ReasonEntry{Reason::kHypervisorMismatch, "HYPERVISOR_MISMATCH", kFailedPrecondition},
    ReasonEntry{Reason::kHypervisorFailed, "HYPERVISOR_FAILED", kFailedPrecondition},
    ReasonEntry{Reason::kToolMissing, "TOOL_MISSING", kFailedPrecondition},
    ReasonEntry{Reason::kPathForbidden, "PATH_FORBIDDEN", kPermissionDenied},
    ReasonEntry{Reason::kNoSpace, "NO_SPACE", kResourceExhausted},
    ReasonEntry{Reason::kNoEligibleShare, "NO_ELIGIBLE_SHARE", kResourceExhausted},
    ReasonEntry{Reason::kTooManyCalls, "TOO_MANY_CALLS", kResourceExhausted},
    ReasonEntry{Reason::kQueueFull, "QUEUE_FULL", kAborted},
    ReasonEntry{Reason::kRevisionMismatch, "REVISION_MISMATCH", kAborted},
    ReasonEntry{Reason::kInterrupted, "INTERRUPTED", kAborted},
    ReasonEntry{Reason::kShareUnavailable, "SHARE_UNAVAILABLE", kUnavailable},
    ReasonEntry{Reason::kShareReplaced, "SHARE_REPLACED", kUnavailable},
    ReasonEntry{Reason::kHypervisorUnavailable, "HYPERVISOR_UNAVAILABLE", kUnavailable},
    ReasonEntry{Reason::kPoolUnavailable, "POOL_UNAVAILABLE", kUnavailable},
    ReasonEntry{Reason::kCatalogUnavailable, "CATALOG_UNAVAILABLE", kUnavailable},
    ReasonEntry{Reason::kStarting, "STARTING", kUnavailable},
    ReasonEntry{Reason::kShuttingDown, "SHUTTING_DOWN", kUnavailable},
    ReasonEntry{Reason::kCancelled, "CANCELLED", kCancelled},
    ReasonEntry{Reason::kDeadline, "DEADLINE", kDeadlineExceeded},
    ReasonEntry{Reason::kWatchRevisionTooOld, "WATCH_REVISION_TOO_OLD", kOutOfRange},
    ReasonEntry{Reason::kWatchTooSlow, "WATCH_TOO_SLOW", kAborted},
    ReasonEntry{Reason::kMapCorrupt, "MAP_CORRUPT", kDataLoss},
    ReasonEntry{Reason::kChainCorrupt, "CHAIN_CORRUPT", kDataLoss},
    ReasonEntry{Reason::kImageCorrupt, "IMAGE_CORRUPT", kDataLoss},
    ReasonEntry{Reason::kIoError, "IO_ERROR", kDataLoss},
    ReasonEntry{Reason::kAbandoned, "ABANDONED", kDataLoss},
    ReasonEntry{Reason::kToolFailed, "TOOL_FAILED", kInternal},
};

const ReasonEntry& Entry(Reason reason) {
  for (const ReasonEntry& entry : kReasons) {
    if (entry.reason == reason) return entry;
  }
  return kReasons[0];
}

constexpr char kDetailsUrl[] = "cairn/error-details";

absl::Status WithDetails(absl::StatusCode code, const std::string& message,
                         const ErrorDetails& details) {
  absl::Status status(code, message);
  nlohmann::json json = {{"reason", ReasonName(details.reason)}, {"metadata", details.metadata}};
  status.SetPayload(
      kDetailsUrl, absl::Cord(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)));
  return status;
}

Reason ReasonOfErrno(int error_number) {
  switch (error_number) {
    case ENOENT:
      return Reason::kFileNotFound;
    case EEXIST:
      return Reason::kFileExists;
    case ENOSPC:
    case EDQUOT:
      return Reason::kNoSpace;
    case EFBIG:
      return Reason::kFileTooLarge;
    case EACCES:
    case EPERM:
    case EROFS:
      return Reason::kShareNotWritable;
    case ESTALE:
    case EAGAIN:
    case EINTR:
    case ETIMEDOUT:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENOTCONN:
    case EREMOTEIO:
    case ECONNREFUSED:
      return Reason::kShareUnavailable;
    case EIO:
      return Reason::kIoError;
    default:
      return Reason::kInternal;
  }
}

}  // namespace

std::string_view ReasonName(Reason reason) { return Entry(reason).name; }
absl::StatusCode ReasonCode(Reason reason) { return Entry(reason).code; }

std::optional<Reason> ReasonFromName(std::string_view name) {
  for (const ReasonEntry& entry : kReasons) {
    if (name == entry.name) return entry.reason;
  }
  return std::nullopt;
}

absl::Status Error(Reason reason, std::string message, ErrorMetadata metadata) {
  return WithDetails(ReasonCode(reason), message, {reason, std::move(metadata)});
}

absl::Status InvalidField(std::string_view field, std::string_view problem,
                          std::string_view value) {
  // A hostile value may be megabytes long; what is echoed is bounded.
  constexpr size_t kEchoMax = 80;
  std::string shown(value.substr(0, kEchoMax));
  if (value.size() > kEchoMax) shown += "...";
  std::string message = value.empty() ? fmt::format("{}: {}", field, problem)
                                      : fmt::format("{}: {} (got \"{}\")", field, problem, shown);
  ErrorMetadata metadata{{"field", std::string(field)}};
  if (!value.empty()) metadata["value"] = shown;
  return Error(Reason::kInvalidField, std::move(message), std::move(metadata));
}

std::optional<ErrorDetails> GetErrorDetails(const absl::Status& status) {
  auto payload = status.GetPayload(kDetailsUrl);
  if (!payload.has_value()) return std::nullopt;
  auto json = nlohmann::json::parse(std::string(*payload), nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  ErrorDetails details;
  details.reason = ReasonFromName(json.value("reason", "")).value_or(Reason::kInternal);
  details.metadata = json.value("metadata", ErrorMetadata{});
  return details;
}

bool HasReason(const absl::Status& status, Reason reason) {
  auto details = GetErrorDetails(status);
  return details.has_value() && details->reason == reason;
}

absl::Status Annotate(const absl::Status& status, std::string_view context,
                      const ErrorMetadata& more) {
  if (status.ok()) return status;
  std::string message = fmt::format("{}: {}", context, ToStd(status.message()));
  auto details = GetErrorDetails(status);
  if (!details.has_value()) {
    if (more.empty()) return absl::Status(status.code(), message);
    details = ErrorDetails{};
  }
  details->metadata.insert(more.begin(), more.end());
  return WithDetails(status.code(), message, *details);
}

absl::Status ErrnoError(int error_number, std::string_view attempted, ErrorMetadata metadata) {
  metadata["errno"] =
      strerrorname_np(error_number) ? strerrorname_np(error_number) : std::to_string(error_number);
  const char* text = strerrordesc_np(error_number);
  return Error(ReasonOfErrno(error_number),
               fmt::format("{}: {}", attempted, text ? text : "unknown error"),
               std::move(metadata));
}

std::string Describe(const absl::Status& status) {
  std::string text = status.ok() ? "OK"
                                 : fmt::format("{}: {}", absl::StatusCodeToString(status.code()),
                                               ToStd(status.message()));
  auto details = GetErrorDetails(status);
  if (!details.has_value()) return text;
  text += fmt::format(" [{}", ReasonName(details->reason));
  for (const auto& [key, value] : details->metadata) text += fmt::format(" {}={}", key, value);
  return text + "]";
}

}  // namespace cairn
