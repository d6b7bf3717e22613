#include "cairn/client/internal/export_target.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/internal/file_error.h"

namespace cairn::client::internal {
namespace {

constexpr int kLinksMax = 40;  // as the kernel's own limit
// How often it is tried whether a FIFO has a reader.
constexpr std::chrono::milliseconds kReaderPeriod(50);

bool IsSame(const struct stat& a, const struct stat& b) {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

// What a path leads to through links at its end, whether or not that exists.
std::string FollowLinks(std::string path) {
  for (int i = 0; i < kLinksMax; ++i) {
    std::error_code error;
    const std::filesystem::path target = std::filesystem::read_symlink(path, error);
    if (error) break;
    path = (std::filesystem::path(path).parent_path() / target).string();
  }
  return path;
}

// A rename lasts only when the directory is on disk.
absl::Status SyncDirectoryOf(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  const std::string directory = parent.empty() ? "." : parent;
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return FileError("cannot open " + directory);
  const absl::Status status =
      fsync(fd) == 0 ? absl::OkStatus() : FileError("cannot sync " + directory);
  close(fd);
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ExportTarget>> ExportTarget::Open(const std::string& path,
                                                                 const std::stop_token& stop) {
  std::unique_ptr<ExportTarget> target(new ExportTarget(path));
  struct stat present = {};
  const bool exists = stat(path.c_str(), &present) == 0;
  if (!exists && errno != ENOENT) return FileError("cannot look at " + path);
  if (exists && !S_ISREG(present.st_mode)) {
    const absl::Status status = target->OpenInPlace(present.st_mode, stop);
    if (!status.ok()) return status;
    return target;
  }
  target->path_ = FollowLinks(path);
  struct stat found = {};
  // Names below /proc lead to files that may have no name of their own any more.
  const bool has_name =
      !exists || (lstat(target->path_.c_str(), &found) == 0 && IsSame(found, present));
  if (!has_name) target->path_ = path;
  const absl::Status status =
      has_name ? target->OpenPart() : target->OpenInPlace(present.st_mode, stop);
  if (!status.ok()) return status;
  return target;
}

ExportTarget::~ExportTarget() {
  if (fd_ < 0) return;
  // Before the close, which lets go of its lock.
  if (!part_.empty()) unlink(part_.c_str());
  close(fd_);
}

absl::Status ExportTarget::OpenInPlace(unsigned mode, const std::stop_token& stop) {
  if (S_ISDIR(mode)) return absl::FailedPreconditionError(path_ + " is a directory");
  if (S_ISSOCK(mode)) return absl::FailedPreconditionError(path_ + " is a socket");
  sequential_ = S_ISFIFO(mode) || S_ISCHR(mode);
  int flags = O_CLOEXEC | O_NOCTTY | (sequential_ ? O_WRONLY : O_RDWR);
  // A device that is mounted, or is part of something else, is refused.
  if (S_ISBLK(mode)) flags |= O_EXCL;
  if (S_ISREG(mode)) flags |= O_TRUNC;
  if (S_ISFIFO(mode)) flags |= O_NONBLOCK;
  while (true) {
    fd_ = open(path_.c_str(), flags);
    if (fd_ >= 0) break;
    const bool no_reader = S_ISFIFO(mode) && errno == ENXIO;
    if (!no_reader) return FileError("cannot open " + path_);
    if (!SleepFor(kReaderPeriod, stop))
      return absl::CancelledError(absl::StrCat("nobody has begun to read ", path_));
  }
  if (S_ISFIFO(mode) && fcntl(fd_, F_SETFL, O_WRONLY) != 0)
    return FileError("cannot set up " + path_);
  return absl::OkStatus();
}

absl::Status ExportTarget::OpenPart() {
  const std::string part = path_ + ".part";
  while (true) {
    // Neither through a link nor into a FIFO of that name.
    const int fd = open(part.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0) return FileError("cannot create " + part);
    fd_ = fd;
    struct stat opened = {};
    if (fstat(fd, &opened) != 0) return FileError("cannot look at " + part);
    if (!S_ISREG(opened.st_mode) || opened.st_nlink > 1)
      return absl::FailedPreconditionError(part + " is in the way, and is no plain file");
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
      return absl::FailedPreconditionError("another download writes " + part);
    struct stat named = {};
    if (lstat(part.c_str(), &named) == 0 && IsSame(named, opened)) break;
    // Its last owner has just renamed or removed it.
    fd_ = -1;
    close(fd);
  }
  // From here on it is ours, to be removed as well.
  part_ = part;
  return ftruncate(fd_, 0) == 0 ? absl::OkStatus() : FileError("cannot empty " + part);
}

absl::Status ExportTarget::Publish() {
  const std::string& written = part_.empty() ? path_ : part_;
  // Devices and FIFOs that keep nothing have nothing to sync.
  if (fsync(fd_) != 0 && !(sequential_ && (errno == EINVAL || errno == EROFS)))
    return FileError("cannot sync " + written);
  if (part_.empty()) return absl::OkStatus();
  if (std::rename(part_.c_str(), path_.c_str()) != 0) return FileError("cannot rename " + part_);
  part_.clear();
  return SyncDirectoryOf(path_);
}

}  // namespace cairn::client::internal
