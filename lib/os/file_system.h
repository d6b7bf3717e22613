// The file system as the core uses it: a small interface over the system calls, so that a test can
// make any one of them fail (FaultyFileSystem).
//
// Every call blocks and may block for ever on a dead server: call only from a share's executor.
// Thread-safe; a File may be read from several threads but written by one at a time.
// Errors come from ErrnoError with metadata {path, errno}; ENOENT is NOT_FOUND, ENOSPC
// RESOURCE_EXHAUSTED.
#ifndef CAIRN_LIB_OS_FILE_SYSTEM_H_
#define CAIRN_LIB_OS_FILE_SYSTEM_H_

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cairn {

struct FileStat {
  int64_t size_bytes = 0;      // apparent size
  int64_t physical_bytes = 0;  // st_blocks x 512
  bool is_regular = false;
  bool is_directory = false;
  uint64_t links = 1;  // how many names it has
  mode_t mode = 0;     // permission bits
  uid_t uid = 0;
  gid_t gid = 0;
  uint64_t inode = 0;
  uint64_t device = 0;
  absl::Time change_time;  // of content or attributes (st_ctim), by the server's clock
};

struct FileSystemStat {
  int64_t total_bytes = 0;      // f_frsize x f_blocks
  int64_t available_bytes = 0;  // f_frsize x f_bavail: what an unprivileged user may still take
};

// A run of a file that holds data (the rest reads as zeros).
struct DataExtent {
  int64_t offset = 0;
  int64_t length = 0;
};

class File {
 public:
  virtual ~File() = default;  // closes; errors of close are lost, so Sync first
  // Reads up to `length` bytes; fewer only at the end of the file.
  virtual absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t length) = 0;
  // Writes all of `data` or fails (and may then have written a part).
  virtual absl::Status WriteAt(int64_t offset, std::string_view data) = 0;
  virtual absl::Status Truncate(int64_t size_bytes) = 0;
  // Really allocates the range (fallocate mode 0, which also grows the file). UNIMPLEMENTED where
  // the file system cannot; RESOURCE_EXHAUSTED when there is no room.
  virtual absl::Status Allocate(int64_t offset, int64_t length) = 0;
  // Makes this file a clone of `source` (FICLONE). UNIMPLEMENTED where the share cannot.
  virtual absl::Status CloneFrom(File& source) = 0;
  // copy_file_range: bytes copied, 0 at the source's end. UNIMPLEMENTED where the kernel cannot.
  virtual absl::StatusOr<int64_t> CopyRangeFrom(File& source, int64_t offset, int64_t length) = 0;
  // The next data at or after `offset` (SEEK_DATA, SEEK_HOLE); length 0 when there is none.
  virtual absl::StatusOr<DataExtent> NextData(int64_t offset) = 0;
  virtual absl::StatusOr<FileStat> Stat() = 0;
  virtual absl::Status SetOwnerAndMode(uid_t uid, gid_t gid,
                                       mode_t mode) = 0;  // uid or gid -1: keep
  // Begins to bring what was written in the range to the disk, and does not wait for it: so that
  // the disk works while more is made, and Sync has less to wait for. It is Sync that tells errors.
  virtual void StartSync(int64_t offset, int64_t length) = 0;
  virtual absl::Status Sync() = 0;  // fsync

  // Advisory locks of the open file on ranges of bytes (fcntl(2), "Open file description locks"),
  // kept until it is closed; NFS 4 carries them between hosts. UNIMPLEMENTED where there are none.
  // Takes a shared one, without waiting; false: somebody holds an exclusive one there.
  virtual absl::StatusOr<bool> TryLockShared(int64_t offset, int64_t length) = 0;
  // Whether another open of the file, in this process too, holds a lock of either kind there.
  virtual absl::StatusOr<bool> IsLockedByOthers(int64_t offset, int64_t length) = 0;
};

enum class OpenMode {
  kRead,
  kReadWrite,
  kCreate,     // read and write, must not exist yet
  kCreateNew,  // read and write, an existing one is emptied (for temporary names of our own)
};

class FileSystem {
 public:
  virtual ~FileSystem() = default;
  // Never follows a symbolic link in the last component (O_NOFOLLOW), nor one that stands for the
  // private directory (own_file.h) above it, and opens regular files only: IMAGE_UNSAFE for anything
  // else, and for writing also for a hard link, whose other names may be somebody's. A created file
  // has mode 0660 whatever the umask.
  virtual absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  // Does not follow a symbolic link in the last component.
  virtual absl::StatusOr<FileStat> Stat(const std::string& path) = 0;
  // IMAGE_UNSAFE when a directory is in the way; so does Remove.
  virtual absl::Status Rename(const std::string& from, const std::string& to) = 0;
  // Gives a file a name that nothing has yet: FILE_EXISTS else, and nothing is changed. Where the share
  // cannot do that in one step (NFS), by a link; the old name goes after the new one is there.
  virtual absl::Status RenameNew(const std::string& from, const std::string& to) = 0;
  // Where a symbolic link leads, as it says; FAILED_PRECONDITION for anything else.
  virtual absl::StatusOr<std::string> ReadLink(const std::string& path) = 0;
  // A file that is not there is OK: removal can be done twice.
  virtual absl::Status Remove(const std::string& path) = 0;
  virtual absl::Status SyncDirectory(const std::string& path) = 0;
  // Asks the server for the directory as it is now, so that the names in it that another host has
  // made, replaced or removed since are seen: what is remembered of them, also that one is absent,
  // may be a minute old otherwise (nfs(5), "Directory entry caching").
  virtual absl::Status RefreshDirectory(const std::string& path) = 0;
  // With their parents, mode 0755 whatever the umask; those that exist are left as they are.
  virtual absl::Status MakeDirectories(const std::string& path) = 0;
  // Names in a directory, without "." and "..", in no order.
  virtual absl::StatusOr<std::vector<std::string>> List(const std::string& path) = 0;
  virtual absl::StatusOr<FileSystemStat> StatFileSystem(const std::string& path) = 0;

  // The real one; never deleted.
  static FileSystem* Posix();
};

// OK when `path` is a regular file with one name, which may be handed to a program that writes in place;
// IMAGE_UNSAFE when not.
absl::Status CheckWritableInPlace(FileSystem& files, const std::string& path);

// Whole content of a small file; RESOURCE_EXHAUSTED reason NO_SPACE is never returned, a file
// larger than `max_bytes` is DATA_LOSS.
absl::StatusOr<std::string> ReadWholeFile(FileSystem& files, const std::string& path,
                                          int64_t max_bytes);

// Durable replacement: writes `<dir>/<temporary>`, fsyncs it, sets its mode, renames it to
// `<dir>/<name>` and fsyncs the directory. A crash leaves the old content or the new. On failure
// the temporary file is removed.
struct ReplaceFileOptions {
  std::string directory;
  std::string name;
  std::string temporary;
  mode_t mode = 0660;
  bool replace = true;  // false: FILE_EXISTS when something has the name
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
};
absl::Status ReplaceFile(FileSystem& files, const ReplaceFileOptions& options,
                         std::string_view content);
// The two halves of ReplaceFile: all that needs room, and the name. A failure to give the name leaves
// the temporary file, so that it can be tried again.
absl::Status PrepareFile(FileSystem& files, const ReplaceFileOptions& options,
                         std::string_view content);
absl::Status PublishFile(FileSystem& files, const ReplaceFileOptions& options);

}  // namespace cairn

#endif  // CAIRN_LIB_OS_FILE_SYSTEM_H_
