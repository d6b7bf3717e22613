// The durable form of the records: one SQLite file (sqlite_schema.h), loading it and writing to it.
//
// Used by one thread at a time. Others may read through connections of their own.
#ifndef CAIRN_LIB_CATALOG_SQLITE_STORE_H_
#define CAIRN_LIB_CATALOG_SQLITE_STORE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/process_lock.h"
#include "lib/catalog/sqlite_database.h"
#include "lib/catalog/stored_operations.h"
#include "lib/catalog/write_ahead_log.h"

namespace cairn {

class SqliteStore {
 public:
  // Creates the file, or brings its schema up to date. FAILED_PRECONDITION when its schema is
  // newer, when it is another program's, or while another process has it open; IO_ERROR (DATA_LOSS)
  // when it is damaged.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path);

  // Every volume, snapshot and share, and the operations that have not ended. IO_ERROR (DATA_LOSS) naming
  // the file, the table and the id of a record that cannot be read.
  absl::Status LoadInto(MemoryIndex* index);

  // Of the catalog; known once it was loaded.
  const std::string& id() const { return id_; }

  // So that the next start knows that it has seen every revision.
  ~SqliteStore();

  // Those that have ended, as this connection sees them.
  StoredOperations* operations() { return stored_operations_.get(); }
  const KnownRequests* requests() const { return &requests_; }

  // The last revision that was found on the disk.
  int64_t loaded_revision() const { return loaded_revision_; }
  // The last that is known to be on the disk.
  int64_t synced_revision() const { return synced_revision_; }

  // All of it durable, or, where all of it may be later, on its way there; or an error and none of it.
  absl::Status Write(const std::vector<Changes>& batch);

 private:
  struct Table {
    SqliteStatement put;
    SqliteStatement remove;
    absl::Status Remove(const std::string& id);
  };
  SqliteStore(ProcessLock lock, SqliteDatabase database, std::string path)
      : lock_(std::move(lock)), database_(std::move(database)), path_(std::move(path)) {}

  absl::Status PrepareStatements();
  absl::StatusOr<std::unique_ptr<Table>> PrepareTable(const std::string& name);
  absl::StatusOr<std::unique_ptr<Table>> PrepareOperations();
  bool MustSync(const std::vector<Changes>& batch) const;
  absl::Status WriteAll(const std::vector<Changes>& batch);
  absl::Status WriteClosed();
  template <typename Record>
  static absl::Status WriteTable(Table& table,
                                 const std::vector<std::shared_ptr<const Record>>& records,
                                 const std::vector<Changes::Removal>& removals);
  absl::Status WriteOperations(const Changes& changes);
  absl::Status PutOperation(const OperationRecord& record);
  absl::Status LoadRequests();
  absl::Status CheckRevisions(const Changes& loaded, int64_t volume_revision);
  absl::Status WriteMeta(const char* key, int64_t value);
  template <typename Decode, typename Ptr>
  absl::Status LoadTable(const char* name, const Decode& decode, std::vector<Ptr>* out);

  const ProcessLock lock_;  // first, so that it is given back last
  SqliteDatabase database_;
  const std::string path_;
  std::unique_ptr<Table> volumes_, snapshots_, journal_, operations_, shares_;
  std::unique_ptr<SqliteStatement> put_meta_, begin_, commit_;
  KnownRequests requests_;  // of the operations that have ended
  std::unique_ptr<StoredOperations> stored_operations_;
  std::unique_ptr<WriteAheadLog> log_;
  std::string id_;
  bool changed_ = false;  // since it was opened
  int64_t loaded_revision_ = 0;
  int64_t revision_ = 0;         // the last that was written
  int64_t synced_revision_ = 0;  // the last that is known to be on the disk
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_SQLITE_STORE_H_
