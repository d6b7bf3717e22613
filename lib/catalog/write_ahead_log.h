// The file to which SQLite appends what is committed (section 4 of
// https://www.sqlite.org/fileformat2.html), and how its pages get from there into the database.
//
// SQLite would copy them in the thread that commits, which then makes everybody wait for another two
// fsyncs. Here a thread of its own copies most of them while commits go on, and the committing thread
// the few that came meanwhile: with nothing left to copy, the next commit begins the log anew. The same
// thread syncs what was committed without waiting for the disk, when nothing else has within a moment.
#ifndef CAIRN_LIB_CATALOG_WRITE_AHEAD_LOG_H_
#define CAIRN_LIB_CATALOG_WRITE_AHEAD_LOG_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"
#include "lib/catalog/sqlite_database.h"
#include "lib/os/file_system.h"

namespace cairn {

class WriteAheadLog {
 public:
  // `database` is the connection that commits; it must outlive this. Gives the log the length that
  // it gets by and by, where there is room: a commit that writes over what is there is several times
  // faster than one that makes the file longer, which is a change of the file system too, and needs
  // room.
  static constexpr int64_t kFullBytes = 14 << 20;
  struct Options {
    std::chrono::nanoseconds unsynced_max = std::chrono::milliseconds(100);
    int64_t bytes =
        kFullBytes;  // less: it is copied before it is longer; 0: it gets no room of its own
  };
  static absl::StatusOr<std::unique_ptr<WriteAheadLog>> Of(SqliteDatabase* database,
                                                           const std::string& path,
                                                           const Options& options);
  ~WriteAheadLog();

  // A commit, by its number and the checksum over all up to it.
  struct Place {
    int64_t commits = 0;
    uint64_t chain = 0;
  };
  // Before the first commit. `durable` is told how far the disk has come; `failed`, once, that a sync
  // or a copy has failed: the log may then lack on the disk what it shows, and a sync that succeeds
  // later says nothing of that. Both on any thread.
  void Follow(std::function<void(const Place&)> durable, std::function<void(absl::Status)> failed);

  // To be called after each commit, by who has committed; `synced`: SQLite has brought it to the
  // disk. Not OK when it may not be there all the same, since what lies before it in the log is not.
  absl::Status Committed(const Place& place, bool synced);

  // By who commits, when there is no room: copies what can be copied, so that the next commit begins the
  // log anew. Not OK when that has failed otherwise than for want of room.
  absl::Status CopyNow();
  // By who commits: gives the log its length again, where there is room.
  void Lengthen();

 private:
  enum class State { kIdle, kWanted, kCopied, kStopping };

  WriteAheadLog(SqliteDatabase* database, SqliteDatabase own, std::unique_ptr<File> file,
                const Options& options, std::string path);
  void CopyWhenLong();
  void Run();
  bool Await() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CopyPages(SqliteDatabase& connection);
  void Sync(const Place& place);
  void Fail(const absl::Status& why);

  SqliteDatabase& database_;
  SqliteDatabase own_;  // of the thread
  const std::unique_ptr<File> file_;
  const Options options_;
  const std::string path_;
  const int pages_;           // when copying begins
  const int pages_too_many_;  // the thread does not keep up: who commits has to help
  Mutex mutex_;
  CondVar wanted_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kIdle;
  std::optional<MonotonicTime> unsynced_since_ ABSL_GUARDED_BY(mutex_);
  Place last_ ABSL_GUARDED_BY(mutex_);
  CondVar sync_ended_;
  bool syncing_ ABSL_GUARDED_BY(mutex_) = false;  // the thread is
  absl::Status failure_ ABSL_GUARDED_BY(mutex_);
  std::function<void(const Place&)> durable_;
  std::function<void(absl::Status)> failed_;
  bool looks_again_ ABSL_GUARDED_BY(mutex_) = false;  // the thread does, without being woken
  std::thread thread_;  // last, so that what it uses is there when it starts
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_WRITE_AHEAD_LOG_H_
