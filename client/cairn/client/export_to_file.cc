#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>

#include "cairn/client/client.h"
#include "cairn/client/internal/file_error.h"

namespace cairn::client {
namespace {

using internal::FileError;

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

absl::Status Publish(int fd, const std::string& part, const std::string& path) {
  if (fsync(fd) != 0) return FileError("cannot sync " + part);
  if (std::rename(part.c_str(), path.c_str()) != 0) return FileError("cannot rename " + part);
  return SyncDirectoryOf(path);
}

}  // namespace

absl::StatusOr<TransferSummary> Client::ExportVolumeToFile(const v1::ExportVolumeRequest& request,
                                                           const std::string& path,
                                                           const TransferOptions& options) const {
  const std::string part = path + ".part";
  const int fd = open(part.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return FileError("cannot create " + part);
  absl::StatusOr<TransferSummary> summary = ExportVolume(request, NewFileSink(fd).get(), options);
  if (summary.ok()) {
    if (const absl::Status status = Publish(fd, part, path); !status.ok()) summary = status;
  }
  close(fd);
  if (!summary.ok()) unlink(part.c_str());
  return summary;
}

}  // namespace cairn::client
