// Where a path leads, so that no stranger decides it.
//
// What lies on a share was perhaps put there by somebody else: a symbolic link, FIFO or device in the
// place of a file, a link in the place of the directory that Cairn keeps for itself, a hard link to a
// file of somebody's. The server runs as root and must neither follow nor change any of them. The
// directory of the share itself is the operator's, and may be reached by links.
//
// Thread-safe. All calls may block as long as the share does.
#ifndef CAIRN_LIB_OS_OWN_FILE_H_
#define CAIRN_LIB_OS_OWN_FILE_H_

#include <fcntl.h>
#include <sys/stat.h>

#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/os/unique_fd.h"

namespace cairn {

// On each share, of the server's own: never entered through a link.
inline constexpr char kPrivateDirectory[] = ".cairn";

// Whether the last component of `path` is the private directory.
bool IsPrivateDirectory(std::string_view path);

// A path for calls such as openat(2): its last component is not followed if they are told so, and no
// link stands for the private directory above it. Other paths cost no call.
class PathAt {
 public:
  PathAt(UniqueFd directory, std::string name)
      : directory_(std::move(directory)), name_(std::move(name)) {}
  int at() const { return directory_.valid() ? directory_.get() : AT_FDCWD; }
  const char* name() const { return name_.c_str(); }

 private:
  UniqueFd directory_;
  std::string name_;
};
// NOT_FOUND, or IMAGE_UNSAFE when something else stands in the place of the private directory.
absl::StatusOr<PathAt> ResolvePath(const std::string& path);

// Opens a directory: the private one only when no link leads there.
absl::StatusOr<UniqueFd> OpenDirectory(const std::string& path);

// openat(2), of what is a regular file only, and does not wait for the other end of a FIFO; with its
// attributes in `st`. IMAGE_UNSAFE for anything else.
absl::StatusOr<UniqueFd> OpenRegular(const std::string& path, int flags, mode_t mode,
                                     struct stat* st);

// IMAGE_UNSAFE with the file's name and what it is, for what is no regular file.
absl::Status NotRegular(std::string_view call, const std::string& path, mode_t mode);
// OK for a regular file that has one name; IMAGE_UNSAFE for what must not be changed as a file of ours.
absl::Status CheckOwnFile(std::string_view call, const std::string& path, const struct stat& st);

}  // namespace cairn

#endif  // CAIRN_LIB_OS_OWN_FILE_H_
