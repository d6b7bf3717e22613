#include "cairn/client/internal/file_error.h"

#include <cerrno>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace cairn::client::internal {
namespace {

absl::StatusCode CodeOf(int error_number) {
  switch (error_number) {
    case ENOENT:
      return absl::StatusCode::kNotFound;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::StatusCode::kResourceExhausted;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case EIO:
      return absl::StatusCode::kDataLoss;
    default:
      // Not UNAVAILABLE: nothing of the client's own is tried again by itself.
      return absl::StatusCode::kFailedPrecondition;
  }
}

}  // namespace

absl::Status FileError(const std::string& attempted) {
  const int error_number = errno;
  return absl::Status(CodeOf(error_number),
                      absl::StrCat(attempted, ": ", std::generic_category().message(error_number)));
}

}  // namespace cairn::client::internal
