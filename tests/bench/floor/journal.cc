#include "tests/bench/floor/journal.h"

#include <unistd.h>

#include "lib/base/status.h"

namespace cairn::bench {
namespace {

// What the JSON of a new volume's record takes.
constexpr size_t kBodyBytes = 620;

void RemoveFiles(const std::string& path) {
  for (const char* suffix : {"", "-wal", "-journal"}) unlink((path + suffix).c_str());
}

}  // namespace

Journal::~Journal() { RemoveFiles(path_); }

absl::StatusOr<std::unique_ptr<Journal>> Journal::Create(const std::string& path) {
  RemoveFiles(path);
  ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path, SqliteDatabase::File::kNew));
  // As lib/catalog/sqlite_store.cc.
  RETURN_IF_ERROR(database.Execute("PRAGMA locking_mode = EXCLUSIVE"));
  RETURN_IF_ERROR(database.QueryText("PRAGMA journal_mode = WAL").status());
  RETURN_IF_ERROR(database.Execute("PRAGMA synchronous = FULL"));
  RETURN_IF_ERROR(
      database.Execute("CREATE TABLE volumes(id TEXT PRIMARY KEY NOT NULL, "
                       "revision INTEGER NOT NULL, body TEXT NOT NULL)"));
  // The log has the length that it gets by and by: to write over it is cheaper than to append to it.
  RETURN_IF_ERROR(
      database.Execute("CREATE TABLE filler(body); INSERT INTO filler VALUES(zeroblob(8000000)); "
                       "DROP TABLE filler; PRAGMA wal_checkpoint(RESTART)"));
  ASSIGN_OR_RETURN(SqliteStatement put,
                   database.Prepare("INSERT INTO volumes(id, revision, body) VALUES(?, 1, ?) "
                                    "ON CONFLICT(id) DO UPDATE SET body = excluded.body"));
  return std::unique_ptr<Journal>(new Journal(path, std::move(database), std::move(put)));
}

absl::Status Journal::Commit(const std::string& id) {
  Pending mine{id};
  MutexLock lock(&mutex_);
  pending_.push_back(&mine);
  while (writing_ && !mine.ended) ended_.Wait(&mutex_);
  if (mine.ended) return mine.status;
  writing_ = true;
  const std::vector<Pending*> batch = std::exchange(pending_, {});
  mutex_.Unlock();
  const absl::Status status = Write(batch);
  mutex_.Lock();
  for (Pending* pending : batch) {
    pending->status = status;
    pending->ended = true;
  }
  writing_ = false;
  ended_.NotifyAll();
  return status;
}

absl::Status Journal::Write(const std::vector<Pending*>& batch) {
  const std::string body(kBodyBytes, 'x');
  RETURN_IF_ERROR(database_.Execute("BEGIN IMMEDIATE"));
  for (const Pending* pending : batch) {
    put_.Bind(1, pending->id);
    put_.Bind(2, body);
    RETURN_IF_ERROR(put_.Run());
  }
  return database_.Execute("COMMIT");
}

}  // namespace cairn::bench
