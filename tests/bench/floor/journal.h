// A SQLite file that is written to as Cairn's catalog is: write-ahead log, exclusive, every commit
// synced, and whoever commits while another commit is on its way shares the next one's fdatasync.
//
// Thread-safe.
#ifndef CAIRN_TESTS_BENCH_FLOOR_JOURNAL_H_
#define CAIRN_TESTS_BENCH_FLOOR_JOURNAL_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/catalog/sqlite_database.h"

namespace cairn::bench {

class Journal {
 public:
  // A new file; one that is there is removed first.
  static absl::StatusOr<std::unique_ptr<Journal>> Create(const std::string& path);
  ~Journal();  // removes it
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // Durable when it returns: one row, as large as the record of a volume. The same id again
  // replaces its row.
  absl::Status Commit(const std::string& id);

 private:
  struct Pending {
    const std::string& id;
    bool ended = false;
    absl::Status status{};
  };

  Journal(std::string path, SqliteDatabase database, SqliteStatement put)
      : path_(std::move(path)), database_(std::move(database)), put_(std::move(put)) {}
  absl::Status Write(const std::vector<Pending*>& batch);

  const std::string path_;
  // Used by the one who has set writing_.
  SqliteDatabase database_;
  SqliteStatement put_;
  Mutex mutex_;
  CondVar ended_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<Pending*> pending_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn::bench

#endif  // CAIRN_TESTS_BENCH_FLOOR_JOURNAL_H_
