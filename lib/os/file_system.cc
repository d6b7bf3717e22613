#include "lib/os/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <limits>
#include <map>
#include <utility>

#include "lib/base/status.h"
#include "lib/os/file_error.h"
#include "lib/os/own_file.h"
#include "lib/os/shared_sync.h"
#include "lib/os/unique_fd.h"

namespace cairn {
namespace {

// What the umask of the server takes away is given back after the creation.
constexpr mode_t kNewFileMode = 0660;
constexpr mode_t kNewDirectoryMode = 0755;
constexpr mode_t kPermissionBits = 07777;

FileStat ToFileStat(const struct stat& st) {
  FileStat result;
  result.size_bytes = st.st_size;
  result.physical_bytes = int64_t{st.st_blocks} * 512;
  result.is_regular = S_ISREG(st.st_mode);
  result.is_directory = S_ISDIR(st.st_mode);
  result.links = st.st_nlink;
  result.mode = st.st_mode & kPermissionBits;
  result.uid = st.st_uid;
  result.gid = st.st_gid;
  result.inode = st.st_ino;
  result.device = st.st_dev;
  result.change_time = absl::TimeFromTimespec(st.st_ctim);
  return result;
}

// Appliances with squashed users or lists of access rights refuse chmod: that does no harm where the mode
// that a file got has all the rights that it is to have.
absl::Status SetMode(int fd, const std::string& path, mode_t mode, mode_t present) {
  if (mode == present || RetryOnEintr([&] { return fchmod(fd, mode); }) == 0) {
    return absl::OkStatus();
  }
  const int error_number = errno;
  if (error_number == EPERM && (present & mode) == mode) return absl::OkStatus();
  return Annotate(FileError(error_number, "fchmod", path),
                  fmt::format("the mode is to be {:04o}, and is {:04o}", mode, present));
}

class PosixFile : public File {
 public:
  PosixFile(UniqueFd fd, std::string path, mode_t permissions)
      : fd_(std::move(fd)), path_(std::move(path)), permissions_(permissions) {}

  absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t length) override;
  absl::Status WriteAt(int64_t offset, std::string_view data) override;
  absl::Status Truncate(int64_t size_bytes) override;
  absl::Status Allocate(int64_t offset, int64_t length) override;
  absl::Status CloneFrom(File& source) override;
  absl::StatusOr<int64_t> CopyRangeFrom(File& source, int64_t offset, int64_t length) override;
  absl::StatusOr<DataExtent> NextData(int64_t offset) override;
  void StartSync(int64_t offset, int64_t length) override;
  absl::StatusOr<FileStat> Stat() override;
  absl::Status SetOwnerAndMode(uid_t uid, gid_t gid, mode_t mode) override;
  absl::Status Sync() override;
  absl::StatusOr<bool> TryLockShared(int64_t offset, int64_t length) override;
  absl::StatusOr<bool> IsLockedByOthers(int64_t offset, int64_t length) override;

 private:
  const UniqueFd fd_;
  const std::string path_;
  mode_t permissions_;  // as last seen or set
};

absl::StatusOr<std::string> PosixFile::ReadAt(int64_t offset, int64_t length) {
  if (length < 0) return FileError(EINVAL, "pread", path_);
  std::string data(static_cast<size_t>(length), '\0');
  size_t done = 0;
  while (done < data.size()) {
    ssize_t n = RetryOnEintr([&] {
      return pread(fd_.get(), data.data() + done, data.size() - done,
                   offset + static_cast<int64_t>(done));
    });
    if (n < 0) return FileError(errno, "pread", path_);
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  data.resize(done);
  return data;
}

absl::Status PosixFile::WriteAt(int64_t offset, std::string_view data) {
  while (!data.empty()) {
    ssize_t n = RetryOnEintr([&] { return pwrite(fd_.get(), data.data(), data.size(), offset); });
    if (n < 0) return FileError(errno, "pwrite", path_);
    // A write that makes no progress and names no error would be repeated for ever.
    if (n == 0) return FileError(EIO, "pwrite", path_);
    data.remove_prefix(static_cast<size_t>(n));
    offset += n;
  }
  return absl::OkStatus();
}

absl::Status PosixFile::Truncate(int64_t size_bytes) {
  if (RetryOnEintr([&] { return ftruncate(fd_.get(), size_bytes); }) != 0) {
    return FileError(errno, "ftruncate", path_);
  }
  return absl::OkStatus();
}

absl::Status PosixFile::Allocate(int64_t offset, int64_t length) {
  if (length == 0) return absl::OkStatus();  // EINVAL to the kernel
  if (RetryOnEintr([&] { return fallocate(fd_.get(), 0, offset, length); }) != 0) {
    return OptionalCallError(errno, "fallocate", path_);
  }
  return absl::OkStatus();
}

absl::Status PosixFile::CloneFrom(File& source) {
  auto* from = dynamic_cast<PosixFile*>(&source);
  if (from == nullptr) return OptionalCallError(EXDEV, "clone to", path_);
  if (RetryOnEintr([&] { return ioctl(fd_.get(), FICLONE, from->fd_.get()); }) != 0) {
    return OptionalCallError(errno, "clone to", path_);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> PosixFile::CopyRangeFrom(File& source, int64_t offset, int64_t length) {
  auto* from = dynamic_cast<PosixFile*>(&source);
  if (from == nullptr) return OptionalCallError(EXDEV, "copy_file_range to", path_);
  // The kernel copies at most about 2 GiB a call, and rounds down itself.
  off64_t in = offset;
  off64_t out = offset;
  ssize_t n = RetryOnEintr([&] {
    return copy_file_range(from->fd_.get(), &in, fd_.get(), &out, static_cast<size_t>(length), 0);
  });
  if (n < 0) return OptionalCallError(errno, "copy_file_range to", path_);
  return n;
}

absl::StatusOr<DataExtent> PosixFile::NextData(int64_t offset) {
  off_t data = RetryOnEintr([&] { return lseek(fd_.get(), offset, SEEK_DATA); });
  if (data < 0 && errno == ENXIO) return DataExtent{offset, 0};
  if (data < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) {
    // No map of the holes here: everything counts as data.
    ASSIGN_OR_RETURN(FileStat stat, Stat());
    return DataExtent{offset, std::max<int64_t>(stat.size_bytes - offset, 0)};
  }
  if (data < 0) return FileError(errno, "lseek", path_);
  off_t hole = RetryOnEintr([&] { return lseek(fd_.get(), data, SEEK_HOLE); });
  // ENXIO: the file was cut short between the two calls.
  if (hole < 0 && errno == ENXIO) return DataExtent{offset, 0};
  if (hole < 0) return FileError(errno, "lseek", path_);
  return DataExtent{data, hole - data};
}

absl::StatusOr<FileStat> PosixFile::Stat() {
  struct stat st;
  if (RetryOnEintr([&] { return fstat(fd_.get(), &st); }) != 0) {
    return FileError(errno, "fstat", path_);
  }
  return ToFileStat(st);
}

absl::Status PosixFile::SetOwnerAndMode(uid_t uid, gid_t gid, mode_t mode) {
  bool change_owner = uid != static_cast<uid_t>(-1) || gid != static_cast<gid_t>(-1);
  if (change_owner && RetryOnEintr([&] { return fchown(fd_.get(), uid, gid); }) != 0) {
    return FileError(errno, "fchown", path_);
  }
  // On a share each call is a question to its server. fchown clears no bits that a file of ours has.
  RETURN_IF_ERROR(SetMode(fd_.get(), path_, mode, permissions_));
  permissions_ = mode;
  return absl::OkStatus();
}

void PosixFile::StartSync(int64_t offset, int64_t length) {
  // Without the flags that wait, which would also take the error that fsync is to find.
  RetryOnEintr([&] { return sync_file_range(fd_.get(), offset, length, SYNC_FILE_RANGE_WRITE); });
}

absl::Status PosixFile::Sync() {
  if (RetryOnEintr([&] { return fsync(fd_.get()); }) != 0) return FileError(errno, "fsync", path_);
  return absl::OkStatus();
}

struct flock LockOf(int16_t type, int64_t offset, int64_t length) {
  struct flock lock {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = offset;
  lock.l_len = length;
  return lock;
}

// ENOLCK is also what a server without a lock service is answered with.
absl::Status LockError(int error_number, const std::string& path) {
  return OptionalCallError(error_number == ENOLCK ? EOPNOTSUPP : error_number, "lock", path);
}

absl::StatusOr<bool> PosixFile::TryLockShared(int64_t offset, int64_t length) {
  struct flock lock = LockOf(F_RDLCK, offset, length);
  if (RetryOnEintr([&] { return fcntl(fd_.get(), F_OFD_SETLK, &lock); }) == 0) return true;
  if (errno == EAGAIN || errno == EACCES) return false;
  return LockError(errno, path_);
}

absl::StatusOr<bool> PosixFile::IsLockedByOthers(int64_t offset, int64_t length) {
  struct flock lock = LockOf(F_WRLCK, offset, length);
  if (RetryOnEintr([&] { return fcntl(fd_.get(), F_OFD_GETLK, &lock); }) != 0) {
    return LockError(errno, path_);
  }
  return lock.l_type != F_UNLCK;
}

int OpenFlags(OpenMode mode) {
  switch (mode) {
    case OpenMode::kRead:
      return O_RDONLY;
    case OpenMode::kReadWrite:
      return O_RDWR;
    case OpenMode::kCreate:
      return O_RDWR | O_CREAT | O_EXCL;
    case OpenMode::kCreateNew:  // emptied when it is known to be ours
      return O_RDWR | O_CREAT;
  }
  return O_RDONLY;
}

bool Creates(OpenMode mode) { return mode == OpenMode::kCreate || mode == OpenMode::kCreateNew; }

class PosixFileSystem : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override;
  absl::StatusOr<FileStat> Stat(const std::string& path) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status RenameNew(const std::string& from, const std::string& to) override;
  absl::StatusOr<std::string> ReadLink(const std::string& path) override;
  absl::Status Remove(const std::string& path) override;
  absl::Status SyncDirectory(const std::string& path) override;
  absl::Status RefreshDirectory(const std::string& path) override;
  absl::Status MakeDirectories(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& path) override;
  absl::StatusOr<FileSystemStat> StatFileSystem(const std::string& path) override;

 private:
  SharedSync directory_syncs_;
};

absl::StatusOr<std::unique_ptr<File>> PosixFileSystem::Open(const std::string& path,
                                                            OpenMode mode) {
  struct stat st;
  ASSIGN_OR_RETURN(UniqueFd fd, OpenRegular(path, OpenFlags(mode), kNewFileMode, &st));
  if (mode != OpenMode::kRead) RETURN_IF_ERROR(CheckOwnFile("open", path, st));
  if (mode == OpenMode::kCreateNew && (st.st_size != 0 || st.st_blocks != 0) &&
      RetryOnEintr([&] { return ftruncate(fd.get(), 0); }) != 0) {
    return FileError(errno, "ftruncate", path);
  }
  mode_t permissions = st.st_mode & kPermissionBits;
  if (Creates(mode)) {
    RETURN_IF_ERROR(SetMode(fd.get(), path, kNewFileMode, permissions));
    permissions = kNewFileMode;
  }
  return std::make_unique<PosixFile>(std::move(fd), path, permissions);
}

absl::StatusOr<FileStat> PosixFileSystem::Stat(const std::string& path) {
  ASSIGN_OR_RETURN(const PathAt at, ResolvePath(path));
  struct stat st;
  if (RetryOnEintr([&] { return fstatat(at.at(), at.name(), &st, AT_SYMLINK_NOFOLLOW); }) != 0) {
    return FileError(errno, "stat", path);
  }
  return ToFileStat(st);
}

absl::Status PosixFileSystem::Rename(const std::string& from, const std::string& to) {
  ASSIGN_OR_RETURN(const PathAt at, ResolvePath(from));
  ASSIGN_OR_RETURN(const PathAt to_at, ResolvePath(to));
  if (RetryOnEintr([&] { return renameat(at.at(), at.name(), to_at.at(), to_at.name()); }) != 0) {
    if (errno == EISDIR) return NotRegular("rename to", to, S_IFDIR);
    return ErrnoError(errno, fmt::format("rename {} to {}", from, to),
                      {{"path", from}, {"to", to}});
  }
  return absl::OkStatus();
}

absl::Status RenameError(int error_number, const std::string& from, const std::string& to) {
  const std::map<std::string, std::string> about = {{"path", from}, {"to", to}};
  if (error_number == EEXIST) {
    return Error(Reason::kFileExists,
                 fmt::format("{} is there already, made by somebody else; it is left alone", to),
                 about);
  }
  return ErrnoError(error_number, fmt::format("rename {} to {}", from, to), about);
}

// EEXIST, but of the file itself: an earlier try, or one whose answer was lost, has given it the name.
bool IsSameFile(const PathAt& at, const PathAt& to_at) {
  struct stat from;
  struct stat to;
  return RetryOnEintr([&] { return fstatat(at.at(), at.name(), &from, AT_SYMLINK_NOFOLLOW); }) ==
             0 &&
         RetryOnEintr(
             [&] { return fstatat(to_at.at(), to_at.name(), &to, AT_SYMLINK_NOFOLLOW); }) == 0 &&
         from.st_ino == to.st_ino && from.st_dev == to.st_dev;
}

// By looking first, on a share that has no links either.
int LookAndRename(const PathAt& at, const PathAt& to_at) {
  struct stat st;
  if (RetryOnEintr([&] { return fstatat(to_at.at(), to_at.name(), &st, AT_SYMLINK_NOFOLLOW); }) ==
      0) {
    return EEXIST;
  }
  if (errno != ENOENT) return errno;
  return RetryOnEintr([&] { return renameat(at.at(), at.name(), to_at.at(), to_at.name()); }) == 0
             ? 0
             : errno;
}

absl::Status PosixFileSystem::RenameNew(const std::string& from, const std::string& to) {
  ASSIGN_OR_RETURN(const PathAt at, ResolvePath(from));
  ASSIGN_OR_RETURN(const PathAt to_at, ResolvePath(to));
  const auto is_missing = [](int error_number) {
    return error_number == EINVAL || error_number == ENOSYS || error_number == EOPNOTSUPP;
  };
  if (RetryOnEintr([&] {
        return renameat2(at.at(), at.name(), to_at.at(), to_at.name(), RENAME_NOREPLACE);
      }) == 0) {
    return absl::OkStatus();
  }
  int error_number = errno;
  if (is_missing(error_number)) {
    error_number =
        RetryOnEintr([&] { return linkat(at.at(), at.name(), to_at.at(), to_at.name(), 0); }) == 0
            ? 0
            : errno;
    if (is_missing(error_number) || error_number == EPERM) {
      error_number = LookAndRename(at, to_at);
      return error_number == 0 ? absl::OkStatus() : RenameError(error_number, from, to);
    }
  }
  if (error_number == EEXIST && IsSameFile(at, to_at)) error_number = 0;
  if (error_number != 0) return RenameError(error_number, from, to);
  return Remove(from);
}

absl::StatusOr<std::string> PosixFileSystem::ReadLink(const std::string& path) {
  ASSIGN_OR_RETURN(const PathAt at, ResolvePath(path));
  std::string target(PATH_MAX, '\0');
  const ssize_t length =
      RetryOnEintr([&] { return readlinkat(at.at(), at.name(), target.data(), target.size()); });
  if (length < 0) return FileError(errno, "readlink", path);
  target.resize(static_cast<size_t>(length));
  return target;
}

absl::Status PosixFileSystem::Remove(const std::string& path) {
  auto at = ResolvePath(path);
  if (absl::IsNotFound(at.status())) return absl::OkStatus();
  RETURN_IF_ERROR(at.status());
  if (RetryOnEintr([&] { return unlinkat(at->at(), at->name(), 0); }) != 0 && errno != ENOENT) {
    if (errno == EISDIR) return NotRegular("unlink", path, S_IFDIR);
    return FileError(errno, "unlink", path);
  }
  return absl::OkStatus();
}

// Many make files in one directory at the same time.
absl::Status PosixFileSystem::SyncDirectory(const std::string& path) {
  return directory_syncs_.Run(path, [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const UniqueFd fd, OpenDirectory(path));
    if (RetryOnEintr([&] { return fsync(fd.get()); }) != 0) return FileError(errno, "fsync", path);
    return absl::OkStatus();
  });
}

// To open is what close-to-open consistency asks of the server about: the NFS client gets the
// directory's attributes then, and forgets its names when they have changed. By its own name: of
// "path/." the kernel does not ask.
absl::Status PosixFileSystem::RefreshDirectory(const std::string& path) {
  return OpenDirectory(path).status();
}

absl::Status PosixFileSystem::MakeDirectories(const std::string& path) {
  // Symbolic links in a configured directory are the operator's, so they are followed.
  const int follow = IsPrivateDirectory(path) ? AT_SYMLINK_NOFOLLOW : 0;
  const auto look = [&](struct stat* st) {
    return RetryOnEintr([&] { return fstatat(AT_FDCWD, path.c_str(), st, follow); });
  };
  struct stat st;
  if (look(&st) == 0) {
    return S_ISDIR(st.st_mode) ? absl::OkStatus() : FileError(ENOTDIR, "mkdir", path);
  }
  if (errno != ENOENT) return FileError(errno, "stat", path);
  size_t last = path.find_last_not_of('/');
  size_t slash = last == std::string::npos ? last : path.find_last_of('/', last);
  if (slash != std::string::npos && slash > 0) {
    RETURN_IF_ERROR(MakeDirectories(path.substr(0, slash)));
  }
  if (RetryOnEintr([&] { return mkdir(path.c_str(), kNewDirectoryMode); }) != 0) {
    // Somebody else may have made it meanwhile.
    const int error_number = errno;
    bool made = error_number == EEXIST && look(&st) == 0 && S_ISDIR(st.st_mode);
    return made ? absl::OkStatus() : FileError(error_number, "mkdir", path);
  }
  // Others are to look into it; where a share refuses that, the server still can.
  if (RetryOnEintr([&] { return chmod(path.c_str(), kNewDirectoryMode); }) != 0 && errno != EPERM) {
    return FileError(errno, "chmod", path);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> PosixFileSystem::List(const std::string& path) {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenDirectory(path));
  std::unique_ptr<DIR, int (*)(DIR*)> directory(fdopendir(fd.get()), closedir);
  if (directory == nullptr) return FileError(errno, "opendir", path);
  fd.Release();  // the stream's now
  std::vector<std::string> names;
  while (true) {
    errno = 0;
    const dirent* entry = readdir(directory.get());
    if (entry == nullptr) break;
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return FileError(errno, "readdir", path);
  return names;
}

// A server may claim any number of blocks.
int64_t SaturatedProduct(uint64_t blocks, uint64_t block_bytes) {
  int64_t product;
  if (__builtin_mul_overflow(blocks, block_bytes, &product)) {
    return std::numeric_limits<int64_t>::max();
  }
  return product;
}

absl::StatusOr<FileSystemStat> PosixFileSystem::StatFileSystem(const std::string& path) {
  struct statvfs st;
  if (RetryOnEintr([&] { return statvfs(path.c_str(), &st); }) != 0) {
    return FileError(errno, "statvfs", path);
  }
  return FileSystemStat{SaturatedProduct(st.f_blocks, st.f_frsize),
                        SaturatedProduct(st.f_bavail, st.f_frsize)};
}

absl::Status WriteDurably(FileSystem& files, const std::string& path,
                          const ReplaceFileOptions& options, std::string_view content) {
  ASSIGN_OR_RETURN(auto file, files.Open(path, OpenMode::kCreateNew));
  RETURN_IF_ERROR(file->WriteAt(0, content));
  bool keep_owner = options.uid == static_cast<uid_t>(-1) && options.gid == static_cast<gid_t>(-1);
  // Open has set kNewFileMode already: no need for another call to the server.
  if (!keep_owner || options.mode != kNewFileMode) {
    RETURN_IF_ERROR(file->SetOwnerAndMode(options.uid, options.gid, options.mode));
  }
  return file->Sync();
}

absl::Status GiveName(FileSystem& files, const ReplaceFileOptions& options) {
  const std::string temporary = options.directory + "/" + options.temporary;
  const std::string path = options.directory + "/" + options.name;
  return options.replace ? files.Rename(temporary, path) : files.RenameNew(temporary, path);
}

}  // namespace

FileSystem* FileSystem::Posix() {
  static PosixFileSystem* const files = new PosixFileSystem;
  return files;
}

absl::Status CheckWritableInPlace(FileSystem& files, const std::string& path) {
  ASSIGN_OR_RETURN(const auto file, files.Open(path, OpenMode::kReadWrite));
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadWholeFile(FileSystem& files, const std::string& path,
                                          int64_t max_bytes) {
  constexpr int64_t kPieceMin = 64 << 10;  // files of /proc have no size
  ASSIGN_OR_RETURN(auto file, files.Open(path, OpenMode::kRead));
  ASSIGN_OR_RETURN(FileStat stat, file->Stat());
  std::string content;
  int64_t size = 0;
  while (size <= max_bytes && stat.size_bytes <= max_bytes) {
    // One byte more than there should be: the end of the file is seen without another call.
    int64_t piece_max = std::max(stat.size_bytes - size + 1, kPieceMin);
    piece_max = std::min(piece_max, max_bytes - size + 1);
    ASSIGN_OR_RETURN(std::string piece, file->ReadAt(size, piece_max));
    size += static_cast<int64_t>(piece.size());
    content += piece;
    if (static_cast<int64_t>(piece.size()) < piece_max && size <= max_bytes) return content;
  }
  return Error(Reason::kIoError, fmt::format("{} is larger than {} bytes", path, max_bytes),
               {{"path", path}});
}

absl::Status ReplaceFile(FileSystem& files, const ReplaceFileOptions& options,
                         std::string_view content) {
  const std::string temporary = options.directory + "/" + options.temporary;
  RETURN_IF_ERROR(PrepareFile(files, options, content));
  absl::Status status = GiveName(files, options);
  if (!status.ok()) {
    files.Remove(temporary).IgnoreError();  // the first error is the one to report
    return status;
  }
  return files.SyncDirectory(options.directory);
}

absl::Status PrepareFile(FileSystem& files, const ReplaceFileOptions& options,
                         std::string_view content) {
  const std::string temporary = options.directory + "/" + options.temporary;
  absl::Status status = WriteDurably(files, temporary, options, content);
  if (!status.ok()) files.Remove(temporary).IgnoreError();  // the first error is the one to report
  return status;
}

absl::Status PublishFile(FileSystem& files, const ReplaceFileOptions& options) {
  RETURN_IF_ERROR(GiveName(files, options));
  return files.SyncDirectory(options.directory);
}

}  // namespace cairn
