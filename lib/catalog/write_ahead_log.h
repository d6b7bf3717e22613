// The file to which SQLite appends what is committed (section 4 of
// https://www.sqlite.org/fileformat2.html), and how its pages get from there into the database.
//
// SQLite would copy them in the thread that commits, which then makes everybody wait for another two
// fsyncs. Here a thread of its own copies most of them while commits go on, and the committing thread
// the few that came meanwhile: with nothing left to copy, the next commit begins the log anew. The same
// thread syncs what was committed without waiting for the disk, when nothing else has within a moment.
#ifndef CAIRN_LIB_CATALOG_WRITE_AHEAD_LOG_H_
#define CAIRN_LIB_CATALOG_WRITE_AHEAD_LOG_H_

#include <memory>
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
  // faster than one that makes the file longer, which is a change of the file system too.
  static absl::StatusOr<std::unique_ptr<WriteAheadLog>> Of(SqliteDatabase* database,
                                                           const std::string& path);
  ~WriteAheadLog();

  // To be called after each commit, by who has committed; `synced`: it is on the disk.
  void Committed(bool synced);

 private:
  enum class State { kIdle, kWanted, kCopied, kStopping };

  WriteAheadLog(SqliteDatabase* database, SqliteDatabase own, std::unique_ptr<File> file);
  void CopyWhenLong();
  void Run();
  bool Await() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void CopyPages(SqliteDatabase& connection);
  void Sync();

  SqliteDatabase& database_;
  SqliteDatabase own_;  // of the thread
  const std::unique_ptr<File> file_;
  Mutex mutex_;
  CondVar wanted_;
  State state_ ABSL_GUARDED_BY(mutex_) = State::kIdle;
  MonotonicTime unsynced_since_ ABSL_GUARDED_BY(mutex_) = MonotonicTime::InfiniteFuture();
  bool looks_again_ ABSL_GUARDED_BY(mutex_) = false;  // the thread does, without being woken
  std::thread thread_;  // last, so that what it uses is there when it starts
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_WRITE_AHEAD_LOG_H_
