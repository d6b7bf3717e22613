#include "lib/catalog/write_ahead_log.h"

#include <algorithm>
#include <string>

#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/os/file_system.h"

namespace cairn {
namespace {

// A checkpoint comes after 1000 pages, each of 4 KiB behind a header of 24 bytes; a batch may end
// beyond that.
constexpr int64_t kBytes = 5 * kMiB;
constexpr int64_t kScarceBytes = 64 * kMiB;

absl::Status Fill(File& log, int64_t from) {
  const std::string zeros(kMiB, '\0');
  for (int64_t at = from; at < kBytes; at += kMiB) {
    const auto length = static_cast<size_t>(std::min(kMiB, kBytes - at));
    RETURN_IF_ERROR(log.WriteAt(at, std::string_view(zeros).substr(0, length)));
  }
  return log.Sync();
}

absl::Status Lengthen(const std::string& path) {
  ASSIGN_OR_RETURN(const FileSystemStat stat, FileSystem::Posix()->StatFileSystem(path));
  if (stat.available_bytes < kScarceBytes) return absl::OkStatus();
  ASSIGN_OR_RETURN(auto log, FileSystem::Posix()->Open(path + "-wal", OpenMode::kReadWrite));
  ASSIGN_OR_RETURN(const FileStat present, log->Stat());
  absl::Status filled = Fill(*log, present.size_bytes);
  if (!filled.ok()) log->Truncate(present.size_bytes).IgnoreError();
  return filled;
}

}  // namespace

void LengthenLog(const std::string& path) {
  Lengthen(path).IgnoreError();  // it is only slower at first
}

}  // namespace cairn
