#include "lib/catalog/disk_room.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <string_view>
#include <utility>

#include "lib/base/size.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

// Of the whole disk: the log, and the reserve.
constexpr int64_t kPart = 16;
constexpr int64_t kPartMinBytes = 128 * kKiB;
// The log's index, the mark, and what the file system itself takes for them.
constexpr int64_t kStartBytes = 256 * kKiB;

constexpr int64_t kPageBytes = 4 * kKiB;

// How much of the disk may be taken by others, and how many pages by us, before it is looked at again.
constexpr absl::Duration kLookPeriod = absl::Seconds(1);
constexpr int64_t kLookPagesMin = 16;
constexpr int64_t kLooksALog = 16;
constexpr absl::Duration kHoldPause = absl::Minutes(1);

absl::Status Allocate(FileSystem& files, const std::string& path, int64_t bytes) {
  ASSIGN_OR_RETURN(auto file, files.Open(path, OpenMode::kCreateNew));
  absl::Status status = file->Allocate(0, bytes);
  if (!absl::IsUnimplemented(status)) return status;
  const std::string piece(kPartMinBytes, '\0');
  for (int64_t at = 0; at < bytes; at += kPartMinBytes) {
    RETURN_IF_ERROR(file->WriteAt(at, piece));
  }
  return file->Sync();
}

}  // namespace

RoomSizes RoomSizes::Of(const FileSystemStat& disk, int64_t log_bytes_max) {
  const int64_t part = std::max(disk.total_bytes / kPart, kPartMinBytes);
  return {std::min(part, log_bytes_max), std::min(part, std::max(log_bytes_max, kPartMinBytes))};
}

DiskRoom::DiskRoom(FileSystem* files, CatalogFiles catalog, int64_t log_bytes_max)
    : files_(*files), catalog_(std::move(catalog)), log_bytes_max_(log_bytes_max) {
  if (auto reserve = files_.Stat(catalog_.reserve()); reserve.ok()) {
    held_bytes_ = reserve->physical_bytes;
  }
  // Until it can be asked, what a large one would be given.
  sizes_ = {log_bytes_max, log_bytes_max};
}

DiskRoom::~DiskRoom() {
  if (held_bytes_ >= sizes_.reserve_bytes) return;
  auto disk = files_.StatFileSystem(DirectoryOf(catalog_.path()));
  if (!disk.ok()) return;
  const int64_t bytes = std::min(disk->available_bytes, sizes_.reserve_bytes);
  if (bytes >= kPartMinBytes) Hold(bytes);
}

void DiskRoom::BeforeStart() {
  auto disk = files_.StatFileSystem(DirectoryOf(catalog_.path()));
  if (!disk.ok()) return;
  sizes_ = RoomSizes::Of(*disk, log_bytes_max_);
  if (disk->available_bytes < kStartBytes + sizes_.log_bytes) Release();
}

absl::Status DiskRoom::status() const {
  MutexLock lock(&mutex_);
  return status_;
}

bool DiskRoom::IsDue(int pages) const {
  const int64_t many = std::max(sizes_.log_bytes / kPageBytes / kLooksALog, kLookPagesMin);
  return pages < pages_ || pages - pages_ >= many || MonotonicTime::Now() - looked_ >= kLookPeriod;
}

void DiskRoom::Look(const Database& database, int pages) {
  pages_ = pages;
  looked_ = MonotonicTime::Now();
  auto disk = files_.StatFileSystem(DirectoryOf(catalog_.path()));
  if (!disk.ok()) return;
  sizes_ = RoomSizes::Of(*disk, log_bytes_max_);
  // As much again, when it was scarce, so that it does not become so with the next change.
  const int64_t more = status().ok() ? 0 : sizes_.reserve_bytes;
  const int64_t wanted = sizes_.reserve_bytes + sizes_.log_bytes + more;
  const int64_t outside = disk->available_bytes - database.coming_bytes;
  if (held_bytes_ < sizes_.reserve_bytes && looked_ >= hold_again_ &&
      outside + held_bytes_ >= sizes_.reserve_bytes + kStartBytes) {
    Hold(sizes_.reserve_bytes);
  }
  const int64_t left = disk->available_bytes - database.coming_bytes + database.free_bytes +
                       std::min(held_bytes_, sizes_.reserve_bytes);
  Tell(left < wanted, std::max<int64_t>(left - sizes_.reserve_bytes, 0));
}

void DiskRoom::Full() { Tell(/*scarce=*/true, 0); }

void DiskRoom::Tell(bool scarce, int64_t left_bytes) {
  absl::Status told;
  if (scarce) {
    const std::string directory = DirectoryOf(catalog_.path());
    told =
        Error(Reason::kNoSpace,
              fmt::format("the disk of the server's records is full but for a reserve ({}: {} KiB "
                          "beside it): what takes room there is refused, deletions are not. Make "
                          "room on it or enlarge it, or delete volumes or snapshots",
                          catalog_.path(), left_bytes / kKiB),
              {{"file", catalog_.path()}, {"available", std::to_string(left_bytes)}});
  }
  MutexLock lock(&mutex_);
  if (status_.ok() && scarce) spdlog::error("{}", Describe(told));
  if (!status_.ok() && !scarce) {
    spdlog::info("there is room on the disk of the server's records again");
  }
  status_ = std::move(told);
}

void DiskRoom::Hold(int64_t bytes) {
  const absl::Status held = Allocate(files_, catalog_.reserve(), bytes);
  if (held.ok()) {
    held_bytes_ = bytes;
    return;
  }
  // Others were faster, or it is not to be had: nothing is lost by it, and it is tried again.
  hold_again_ = looked_ + kHoldPause;
  spdlog::debug("no reserve on the disk of the server's records: {}", Describe(held));
  held_bytes_ = 0;
  files_.Remove(catalog_.reserve()).IgnoreError();
}

bool DiskRoom::Release() {
  if (held_bytes_ == 0) return false;
  held_bytes_ = 0;
  if (absl::Status removed = files_.Remove(catalog_.reserve()); !removed.ok()) {
    spdlog::error("the reserve on the disk of the server's records: {}", Describe(removed));
    return false;
  }
  spdlog::warn(
      "the reserve on the disk of the server's records is given up: there is no other room");
  return true;
}

}  // namespace cairn
