#include "lib/image/image_lock.h"

#include <fmt/format.h>

#include "lib/base/status.h"

namespace cairn {
namespace {

// A byte for each permission: for those that an open file uses, and for those that it does not
// leave to others. In order: consistent read, write, write unchanged, resize. A range of them is
// one call to the server.
constexpr int64_t kUsed = 100;
constexpr int64_t kNotShared = 200;
constexpr int64_t kWrite = 1;
constexpr int64_t kFirstChange = kWrite;  // the first that is not reading
constexpr int64_t kPermissions = 4;

absl::Status Take(File& file, int64_t first, int64_t count) {
  ASSIGN_OR_RETURN(const bool taken, file.TryLockShared(first, count));
  return taken ? absl::OkStatus() : absl::UnimplementedError("another process has it to itself");
}

absl::Status ExpectFree(File& file, int64_t first, int64_t count) {
  ASSIGN_OR_RETURN(const bool locked, file.IsLockedByOthers(first, count));
  return locked ? absl::UnimplementedError("another process uses the image") : absl::OkStatus();
}

}  // namespace

absl::Status LockImage(File& file) {
  // First one's own, then the look at those of others: of two that come at once both may lose, but
  // never both win.
  RETURN_IF_ERROR(Take(file, kUsed, kPermissions));
  RETURN_IF_ERROR(Take(file, kNotShared + kFirstChange, kPermissions - kFirstChange));
  RETURN_IF_ERROR(ExpectFree(file, kNotShared, kPermissions));
  return ExpectFree(file, kUsed + kFirstChange, kPermissions - kFirstChange);
}

bool IsLockedByAnother(const absl::Status& status) {
  const auto details = GetErrorDetails(status);
  return details.has_value() && details->reason == Reason::kVolumeInUse &&
         details->metadata.count("tool") != 0;
}

absl::StatusOr<bool> IsOpenForWriting(File& file) {
  return file.IsLockedByOthers(kUsed + kWrite, 1);
}

}  // namespace cairn
