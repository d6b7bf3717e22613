// The disk of a catalog, as a directory whose system calls are watched (faulty_disk.cc stands instead
// of the C library's, for SQLite too): what of it would outlive a power failure, and any call that
// fails.
//
// A failed fsync is the worst that Linux allows: what was to be written is dropped, the system shows it
// all the same, and the next fsync succeeds.
#ifndef CAIRN_TESTS_UNIT_CATALOG_FAULTY_DISK_H_
#define CAIRN_TESTS_UNIT_CATALOG_FAULTY_DISK_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/mutex.h"

namespace cairn::testing {

class FaultyDisk {
 public:
  static FaultyDisk& Get();

  enum class Lasting { kOnce, kUntilHealed };
  // What is in the directory is durable. The call of that number (from 1; 0: none) fails.
  void Begin(const std::string& directory, int failing_call, int error, Lasting lasting);
  void Heal();
  void End();
  int calls() const;
  bool has_failed() const;
  std::string failed_call() const;

  // What a power failure now would leave, as files in another directory: of what was not synced
  // nothing, or everything that is not dropped.
  enum class Unsynced { kLost, kKept };
  void CutPower(Unsynced unsynced, const std::string& to) const;

  // For the calls. Whether a call about that path, or descriptor, is to fail; sets errno.
  bool Fails(const char* call, const std::string& path);
  void Written(const std::string& path, uint64_t inode, int64_t offset, std::string_view data);
  void Truncated(const std::string& path, uint64_t inode, int64_t size);
  void Synced(const std::string& path, uint64_t inode);
  void Dropped(uint64_t inode);
  void Gone(const std::string& path);
  bool Watches(const std::string& path) const;

 private:
  // One write, or the length that the file was cut to.
  struct Change {
    int64_t offset = 0;
    std::optional<std::string> data;
  };
  struct Content {
    std::string durable;
    std::vector<Change> unsynced;
    bool gone = false;  // its name; the number may come again for another file
  };

  static void Apply(const std::vector<Change>& changes, std::string* content);
  Content& Of(const std::string& path, uint64_t inode) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::map<std::string, uint64_t> Names() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::string directory_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Content> contents_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, uint64_t> durable_names_ ABSL_GUARDED_BY(mutex_);
  int calls_ ABSL_GUARDED_BY(mutex_) = 0;
  int failing_call_ ABSL_GUARDED_BY(mutex_) = 0;
  int error_ ABSL_GUARDED_BY(mutex_) = 0;
  Lasting lasting_ ABSL_GUARDED_BY(mutex_) = Lasting::kOnce;
  std::string failed_call_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_CATALOG_FAULTY_DISK_H_
