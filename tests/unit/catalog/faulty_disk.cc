#include "tests/unit/catalog/faulty_disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <filesystem>
#include <fstream>

#include "tests/support/temp_dir.h"

namespace cairn::testing {
namespace {

constexpr std::string_view kDeleted = " (deleted)";

// Those whose content a power failure may take away without harm, or that are never written.
bool IsOfNoInterest(std::string_view path) {
  return path.ends_with("-shm") || path.ends_with(".lock") || path.ends_with(".reserve");
}

}  // namespace

FaultyDisk& FaultyDisk::Get() {
  static FaultyDisk disk;
  return disk;
}

void FaultyDisk::Begin(const std::string& directory, int failing_call, int error, Lasting lasting) {
  MutexLock lock(&mutex_);
  directory_ = directory;
  contents_.clear();
  durable_names_ = Names();
  for (const auto& [name, inode] : durable_names_) {
    contents_[inode].durable = ReadFile(directory + "/" + name);
  }
  calls_ = 0;
  failing_call_ = failing_call;
  error_ = error;
  lasting_ = lasting;
  failed_call_.clear();
}

void FaultyDisk::Heal() {
  MutexLock lock(&mutex_);
  failing_call_ = 0;
}

void FaultyDisk::End() {
  MutexLock lock(&mutex_);
  directory_.clear();
  failing_call_ = 0;
}

int FaultyDisk::calls() const {
  MutexLock lock(&mutex_);
  return calls_;
}

bool FaultyDisk::has_failed() const {
  MutexLock lock(&mutex_);
  return !failed_call_.empty();
}

std::string FaultyDisk::failed_call() const {
  MutexLock lock(&mutex_);
  return failed_call_;
}

bool FaultyDisk::Watches(const std::string& path) const {
  MutexLock lock(&mutex_);
  return !directory_.empty() && (path == directory_ || path.starts_with(directory_ + "/")) &&
         !path.ends_with(".lock");
}

bool FaultyDisk::Fails(const char* call, const std::string& path) {
  if (!Watches(path)) return false;
  MutexLock lock(&mutex_);
  ++calls_;
  const bool fails = failing_call_ != 0 && (lasting_ == Lasting::kOnce ? calls_ == failing_call_
                                                                       : calls_ >= failing_call_);
  if (!fails) return false;
  if (failed_call_.empty()) failed_call_ = std::string(call) + " " + path;
  errno = error_;
  return true;
}

FaultyDisk::Content& FaultyDisk::Of(const std::string& path, uint64_t inode) {
  Content& content = contents_[inode];
  if (content.gone && !path.ends_with(kDeleted)) content = {};
  return content;
}

void FaultyDisk::Written(const std::string& path, uint64_t inode, int64_t offset,
                         std::string_view data) {
  MutexLock lock(&mutex_);
  Of(path, inode).unsynced.push_back({offset, std::string(data)});
}

void FaultyDisk::Truncated(const std::string& path, uint64_t inode, int64_t size) {
  MutexLock lock(&mutex_);
  Of(path, inode).unsynced.push_back({size, std::nullopt});
}

void FaultyDisk::Synced(const std::string& path, uint64_t inode) {
  MutexLock lock(&mutex_);
  if (path == directory_) {
    durable_names_ = Names();
    return;
  }
  Content& content = Of(path, inode);
  Apply(content.unsynced, &content.durable);
  content.unsynced.clear();
}

void FaultyDisk::Dropped(uint64_t inode) {
  MutexLock lock(&mutex_);
  contents_[inode].unsynced.clear();
}

void FaultyDisk::Gone(const std::string& path) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0) return;
  MutexLock lock(&mutex_);
  contents_[st.st_ino].gone = true;
}

void FaultyDisk::Apply(const std::vector<Change>& changes, std::string* content) {
  for (const Change& change : changes) {
    const auto offset = static_cast<size_t>(change.offset);
    if (!change.data.has_value()) {
      content->resize(offset);
      continue;
    }
    content->resize(std::max(content->size(), offset + change.data->size()));
    content->replace(offset, change.data->size(), *change.data);
  }
}

std::map<std::string, uint64_t> FaultyDisk::Names() const {
  std::map<std::string, uint64_t> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
    const std::string name = entry.path().filename().string();
    struct stat st;
    if (IsOfNoInterest(name) || stat(entry.path().c_str(), &st) != 0) continue;
    names[name] = st.st_ino;
  }
  return names;
}

void FaultyDisk::CutPower(Unsynced unsynced, const std::string& to) const {
  MutexLock lock(&mutex_);
  std::filesystem::create_directory(to);
  for (const auto& [name, inode] : unsynced == Unsynced::kLost ? durable_names_ : Names()) {
    std::string content;
    if (auto it = contents_.find(inode); it != contents_.end()) {
      content = it->second.durable;
      if (unsynced == Unsynced::kKept) Apply(it->second.unsynced, &content);
    }
    std::ofstream(to + "/" + name, std::ios::binary) << content;
  }
}

namespace {

std::string PathOf(int fd) {
  char path[4096];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t length = readlink(link.c_str(), path, sizeof(path));
  return length < 0 ? "" : std::string(path, static_cast<size_t>(length));
}

uint64_t InodeOf(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

ssize_t Write(int fd, const void* data, size_t length, off_t offset) {
  const std::string path = PathOf(fd);
  if (FaultyDisk::Get().Fails("pwrite", path)) return -1;
  const ssize_t written = syscall(SYS_pwrite64, fd, data, length, offset);
  if (written > 0 && FaultyDisk::Get().Watches(path)) {
    FaultyDisk::Get().Written(
        path, InodeOf(fd), offset,
        std::string_view(static_cast<const char*>(data), static_cast<size_t>(written)));
  }
  return written;
}

int Truncate(int fd, off_t length) {
  const std::string path = PathOf(fd);
  if (FaultyDisk::Get().Fails("ftruncate", path)) return -1;
  const auto result = static_cast<int>(syscall(SYS_ftruncate, fd, length));
  if (result == 0 && FaultyDisk::Get().Watches(path)) {
    FaultyDisk::Get().Truncated(path, InodeOf(fd), length);
  }
  return result;
}

int Sync(int fd, long number) {
  const std::string path = PathOf(fd);
  FaultyDisk& disk = FaultyDisk::Get();
  if (!disk.Watches(path)) return static_cast<int>(syscall(number, fd));
  if (disk.Fails("fsync", path)) {
    const int error = errno;
    disk.Dropped(InodeOf(fd));
    errno = error;
    return -1;
  }
  disk.Synced(path, InodeOf(fd));
  return 0;
}

int Open(const char* path, int flags, mode_t mode) {
  if (FaultyDisk::Get().Fails("open", path)) return -1;
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags | O_LARGEFILE, mode));
}

}  // namespace

extern "C" ssize_t pwrite(int fd, const void* data, size_t length, off_t offset) {
  return Write(fd, data, length, offset);
}
extern "C" ssize_t pwrite64(int fd, const void* data, size_t length, off64_t offset) {
  return Write(fd, data, length, offset);
}
extern "C" int ftruncate(int fd, off_t length) noexcept { return Truncate(fd, length); }
extern "C" int ftruncate64(int fd, off64_t length) noexcept { return Truncate(fd, length); }
extern "C" int fsync(int fd) { return Sync(fd, SYS_fsync); }
extern "C" int fdatasync(int fd) { return Sync(fd, SYS_fdatasync); }

extern "C" int open(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = va_arg(arguments, mode_t);
  va_end(arguments);
  return Open(path, flags, mode);
}
extern "C" int open64(const char* path, int flags, ...) {
  va_list arguments;
  va_start(arguments, flags);
  const mode_t mode = va_arg(arguments, mode_t);
  va_end(arguments);
  return Open(path, flags, mode);
}

extern "C" int unlink(const char* path) noexcept {
  FaultyDisk& disk = FaultyDisk::Get();
  if (disk.Fails("unlink", path)) return -1;
  if (disk.Watches(path)) disk.Gone(path);
  return static_cast<int>(syscall(SYS_unlink, path));
}

extern "C" int rename(const char* from, const char* to) noexcept {
  FaultyDisk& disk = FaultyDisk::Get();
  if (disk.Fails("rename", from)) return -1;
  if (disk.Watches(to)) disk.Gone(to);
  return static_cast<int>(syscall(SYS_rename, from, to));
}

}  // namespace cairn::testing
