// The durable form of the records: one SQLite file (sqlite_schema.h), loading it and writing to it.
//
// Used by one thread at a time. Others may read through connections of their own.
#ifndef CAIRN_LIB_CATALOG_SQLITE_STORE_H_
#define CAIRN_LIB_CATALOG_SQLITE_STORE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/status.h"
#include "lib/catalog/catalog_mark.h"
#include "lib/catalog/damage.h"
#include "lib/catalog/disk_room.h"
#include "lib/catalog/history.h"
#include "lib/catalog/known_requests.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/record_tables.h"
#include "lib/catalog/seal.h"
#include "lib/catalog/sqlite_database.h"
#include "lib/catalog/stored_operations.h"
#include "lib/catalog/write_ahead_log.h"

namespace cairn {

class SqliteStore {
 public:
  // Opens the file, which must be there, and brings its schema up to date. FAILED_PRECONDITION when
  // its schema is newer or it is another program's; IO_ERROR (DATA_LOSS) when it is damaged. Not
  // owned, must outlive this: `requests`, to which it adds those of the operations that have ended.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path,
                                                           const WriteAheadLog::Options& log,
                                                           KnownRequests* requests);
  // So that the next start knows that it has seen every revision; unless it was abandoned.
  ~SqliteStore();

  // Every volume, snapshot and share, and the operations that have not ended. What cannot be read goes
  // to `damage`. IO_ERROR (DATA_LOSS) when they are not those of the last commit, or naming the file,
  // the table and the address of a share that cannot be read.
  absl::Status LoadInto(MemoryIndex* index, Damage* damage);
  // Instead of it, for a file that was written from what is in memory.
  void GoOnFrom(const Seal& seal, const HistorySize& history);

  // As of the last commit.
  const Seal& seal() const { return seal_; }
  // The last revision that was found on the disk.
  int64_t loaded_revision() const { return loaded_revision_; }
  // The last that is known to be on the disk.
  int64_t synced_revision() const { return synced_revision_; }
  // Of what has ended.
  const HistorySize& history() const { return history_; }
  // From here on the catalog has another history than any copy of it.
  absl::Status BeginTimeline();

  // Before the first commit. Not owned. The mark is told what is durable; `failed` is called, on any
  // thread, when the log could not be brought to the disk or copied: what was committed since the last
  // commit that waited may not be durable, and nothing may be written after it.
  void Follow(CatalogMark* mark, std::function<void(absl::Status)> failed);

  // Those that have ended, as this connection sees them.
  StoredOperations* operations() { return stored_operations_.get(); }
  SqliteDatabase* database() { return &database_; }

  enum class Outcome {
    kDone,     // all of it durable, or, where all of it may be later, on its way there
    kNothing,  // nothing has changed, and the next may be tried
    kInDoubt,  // it may be there after the next start, or not: nothing may be written after it
  };
  struct Written {
    Outcome outcome = Outcome::kDone;
    absl::Status why;

    bool full() const { return outcome == Outcome::kNothing && HasReason(why, Reason::kNoSpace); }
  };
  Written Write(const std::vector<Changes>& batch);

  // How much it takes, and has.
  absl::StatusOr<DiskRoom::Database> Room();
  int log_pages() const { return database_.log_pages(); }
  // See WriteAheadLog.
  absl::Status CopyLog() { return log_->CopyNow(); }
  void LengthenLog() { log_->Lengthen(); }

  // The file is given up: it is closed without another write.
  void Abandon();

 private:
  SqliteStore(SqliteDatabase database, std::string path, KnownRequests* requests)
      : database_(std::move(database)), path_(std::move(path)), requests_(*requests) {}

  absl::Status PrepareStatements();
  bool MustSync(const std::vector<Changes>& batch) const;
  absl::Status WriteAll(const std::vector<Changes>& batch, const Seal& seal);
  absl::Status WriteClosed();
  absl::Status WriteSeal(const Seal& seal);
  absl::StatusOr<Seal> ReadSeal();
  absl::StatusOr<uint64_t> LoadEnded();
  absl::Status CheckRevisions(const Changes& loaded);
  template <typename Decode, typename Ptr>
  absl::Status LoadTable(const char* name, RecordKind kind, const Decode& decode,
                         std::vector<Ptr>* out, Damage* damage, uint64_t* digest);

  SqliteDatabase database_;
  const std::string path_;
  KnownRequests& requests_;
  std::unique_ptr<RecordTables> tables_;
  std::unique_ptr<SqliteStatement> begin_, commit_, page_count_, free_pages_;
  std::unique_ptr<StoredOperations> stored_operations_;
  std::unique_ptr<WriteAheadLog> log_;
  CatalogMark* mark_ = nullptr;
  Seal seal_;
  HistorySize history_;
  bool changed_ = false;  // since it was opened
  bool abandoned_ = false;
  int64_t loaded_revision_ = 0;
  int64_t synced_revision_ = 0;  // the last that is known to be on the disk
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_SQLITE_STORE_H_
