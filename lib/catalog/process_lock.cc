#include "lib/catalog/process_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "lib/base/status.h"

namespace cairn {

absl::StatusOr<ProcessLock> ProcessLock::Take(const std::string& path) {
  const std::string file = path + ".lock";
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return Error(Reason::kInternal, fmt::format("{}: open: {}", file, strerrordesc_np(errno)),
                 {{"file", file}});
  }
  ProcessLock lock(fd);
  // Not a lock of POSIX: that would be gone once anything in this process closes the file.
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno == EWOULDBLOCK) {
    return absl::FailedPreconditionError(
        fmt::format("{}: another process has this catalog open", path));
  }
  return Error(Reason::kInternal, fmt::format("{}: lock: {}", file, strerrordesc_np(errno)),
               {{"file", file}});
}

ProcessLock::~ProcessLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace cairn
