#include "lib/os/own_file.h"

#include <fmt/format.h>

#include <cerrno>

#include "lib/base/status.h"
#include "lib/os/file_error.h"

namespace cairn {
namespace {

std::string_view LastComponent(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

std::string_view KindOf(mode_t mode) {
  if (S_ISLNK(mode)) return "a symbolic link";
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a FIFO";
  if (S_ISSOCK(mode)) return "a socket";
  if (S_ISBLK(mode) || S_ISCHR(mode)) return "a device";
  return "no regular file";
}

// Some of what is no regular file can be opened, and is recognised then; of the rest the error may mean
// anything.
absl::Status OpenError(int error_number, const PathAt& at, const std::string& path) {
  switch (error_number) {
    case ELOOP:   // a symbolic link
    case EISDIR:  // a directory, for writing
    case ENXIO:   // a socket, or a device that is not there
    case ENODEV:
    case EACCES:  // also a device where none may be used
    case EPERM: {
      struct stat st;
      if (fstatat(at.at(), at.name(), &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode)) {
        return NotRegular("open", path, st.st_mode);
      }
      break;
    }
    default:
      break;
  }
  return FileError(error_number, "open", path);
}

absl::Status NotTheDirectory(const std::string& path) {
  return Error(
      Reason::kImageUnsafe,
      fmt::format("{} is not a directory, and is not followed: somebody else put it there; "
                  "remove it",
                  path),
      {{"path", path}, {"file", std::string(LastComponent(path))}});
}

}  // namespace

bool IsPrivateDirectory(std::string_view path) { return LastComponent(path) == kPrivateDirectory; }

absl::StatusOr<UniqueFd> OpenDirectory(const std::string& path) {
  const bool is_private = IsPrivateDirectory(path);
  const int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (is_private ? O_NOFOLLOW : 0);
  UniqueFd fd(RetryOnEintr([&] { return open(path.c_str(), flags); }));
  if (fd.valid()) return fd;
  if (is_private && (errno == ENOTDIR || errno == ELOOP)) return NotTheDirectory(path);
  return FileError(errno, "open", path);
}

absl::StatusOr<PathAt> ResolvePath(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || !IsPrivateDirectory(std::string_view(path).substr(0, slash))) {
    return PathAt(UniqueFd(), path);
  }
  const std::string parent = path.substr(0, slash);
  constexpr int kFlags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  UniqueFd directory(RetryOnEintr([&] { return open(parent.c_str(), kFlags); }));
  if (directory.valid()) return PathAt(std::move(directory), path.substr(slash + 1));
  if (errno == ENOTDIR || errno == ELOOP) return NotTheDirectory(parent);
  return FileError(errno, "open", path);
}

absl::StatusOr<UniqueFd> OpenRegular(const std::string& path, int flags, mode_t mode,
                                     struct stat* st) {
  ASSIGN_OR_RETURN(const PathAt at, ResolvePath(path));
  // O_NONBLOCK: a FIFO must not hold the thread until it is recognised below. To a regular file it
  // means nothing (open(2)).
  flags |= O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
  UniqueFd fd(RetryOnEintr([&] { return openat(at.at(), at.name(), flags, mode); }));
  if (!fd.valid()) return OpenError(errno, at, path);
  if (RetryOnEintr([&] { return fstat(fd.get(), st); }) != 0) {
    return FileError(errno, "fstat", path);
  }
  if (!S_ISREG(st->st_mode)) return NotRegular("open", path, st->st_mode);
  return fd;
}

absl::Status NotRegular(std::string_view call, const std::string& path, mode_t mode) {
  return Error(Reason::kImageUnsafe,
               fmt::format("{} {}: not a regular file, but {}", call, path, KindOf(mode)),
               {{"path", path}, {"file", std::string(LastComponent(path))}});
}

absl::Status CheckOwnFile(std::string_view call, const std::string& path, const struct stat& st) {
  if (!S_ISREG(st.st_mode)) return NotRegular(call, path, st.st_mode);
  if (st.st_nlink <= 1) return absl::OkStatus();
  return Error(Reason::kImageUnsafe,
               fmt::format("{} {}: it is a hard link; who changes it changes the file of {} names",
                           call, path, st.st_nlink),
               {{"path", path},
                {"file", std::string(LastComponent(path))},
                {"links", std::to_string(st.st_nlink)}});
}

}  // namespace cairn
