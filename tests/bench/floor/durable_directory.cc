#include "tests/bench/floor/durable_directory.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>

#include "lib/base/status.h"
#include "lib/os/file_error.h"

namespace cairn::bench {
namespace {

constexpr mode_t kFileMode = 0660;

absl::Status Fill(int fd, const std::string& path, const FileContent& content) {
  int64_t end = 0;
  for (const FileWrite& write : content.writes) {
    const auto length = static_cast<ssize_t>(write.data.size());
    if (pwrite(fd, write.data.data(), write.data.size(), write.offset) != length) {
      return FileError(errno, "pwrite", path);
    }
    end = std::max(end, write.offset + length);
  }
  if (end < content.size_bytes && ftruncate(fd, content.size_bytes) != 0) {
    return FileError(errno, "ftruncate", path);
  }
  if (fsync(fd) != 0) return FileError(errno, "fsync", path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DurableDirectory> DurableDirectory::Open(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return FileError(errno, "open", path);
  return DurableDirectory(std::move(fd), path);
}

absl::Status DurableDirectory::Publish(const std::string& name, const FileContent& content) const {
  const std::string temporary = "." + name + ".tmp";
  {
    UniqueFd fd(
        openat(fd_.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode));
    if (!fd.valid()) return FileError(errno, "open", path_ + "/" + temporary);
    RETURN_IF_ERROR(Fill(fd.get(), path_ + "/" + temporary, content));
  }
  if (renameat(fd_.get(), temporary.c_str(), fd_.get(), name.c_str()) != 0) {
    return FileError(errno, "rename", path_ + "/" + temporary);
  }
  return absl::OkStatus();
}

absl::Status DurableDirectory::Sync() const {
  return fsync(fd_.get()) == 0 ? absl::OkStatus() : FileError(errno, "fsync", path_);
}

}  // namespace cairn::bench
