// The room on the catalog's disk, and a reserve of it for what makes room.
//
// The reserve is a file beside the catalog, <path>.reserve, that holds room and nothing else. When
// hardly more is left, changes that take room are to be refused (status), while deletions, and the ends
// of what runs, go on: in the free pages of the database, and at last in the room of the reserve, which
// is then given up. It is made again when there is room enough.
//
// The write-ahead log has room of its own from the first (write_ahead_log.h). Both are small on a small
// disk.
//
// Thread-safe is status() alone; the rest is for the thread that writes the catalog.
#ifndef CAIRN_LIB_CATALOG_DISK_ROOM_H_
#define CAIRN_LIB_CATALOG_DISK_ROOM_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"
#include "lib/catalog/catalog_files.h"
#include "lib/os/file_system.h"

namespace cairn {

// What of the disk the catalog keeps to itself.
struct RoomSizes {
  int64_t log_bytes = 0;
  int64_t reserve_bytes = 0;

  // The reserve is no larger than the log may be. 0: the log has no room of its own, and the reserve is
  // as small as can be.
  static RoomSizes Of(const FileSystemStat& disk, int64_t log_bytes_max);
};

class DiskRoom {
 public:
  // Not owned: `files`, on which the disk is looked at.
  DiskRoom(FileSystem* files, CatalogFiles catalog, int64_t log_bytes_max);
  // After the catalog was closed: the room of its log goes to a reserve that was given up, or others
  // would take it, and there were none for the next start.
  ~DiskRoom();
  DiskRoom(const DiskRoom&) = delete;
  DiskRoom& operator=(const DiskRoom&) = delete;

  // Before the catalog is opened, which takes room, too: gives the reserve up where there is hardly
  // any other.
  void BeforeStart();

  // OK while there is room for more; else NO_SPACE, saying how much is left and what can be done.
  absl::Status status() const;
  const RoomSizes& sizes() const { return sizes_; }

  // What the database will still take of the disk by what is in its log, and what it has to spare.
  struct Database {
    int64_t coming_bytes = 0;
    int64_t free_bytes = 0;
  };
  // Whether it is time to look again: `pages` are in the log.
  bool IsDue(int pages) const;
  // Whether to look again even when nothing is written.
  bool IsScarce() const { return !status().ok() || held_bytes_ < sizes_.reserve_bytes; }
  void Look(const Database& database, int pages);
  // A write has found no room, whatever the disk says.
  void Full();
  // Gives the reserve up. False: there was none.
  bool Release();

 private:
  void Hold(int64_t bytes);
  void Tell(bool scarce, int64_t left_bytes);

  FileSystem& files_;
  const CatalogFiles catalog_;
  const int64_t log_bytes_max_;
  RoomSizes sizes_;
  int64_t held_bytes_ = 0;  // by the reserve
  MonotonicTime looked_;
  MonotonicTime hold_again_;  // after it could not be made
  int pages_ = 0;             // then
  mutable Mutex mutex_;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_DISK_ROOM_H_
