// The tables of a database of the catalog (sqlite_schema.h), as they are written: the rows of the
// records, each with its checksum, and the seal.
//
// Within a transaction of the caller's. Used by one thread at a time; the database must outlive it.
#ifndef CAIRN_LIB_CATALOG_RECORD_TABLES_H_
#define CAIRN_LIB_CATALOG_RECORD_TABLES_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/catalog/history.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/seal.h"
#include "lib/catalog/sqlite_database.h"
#include "lib/catalog/stored_record.h"

namespace cairn {

class RecordTables {
 public:
  static absl::StatusOr<std::unique_ptr<RecordTables>> On(SqliteDatabase* database);

  absl::Status Write(const Changes& changes);
  // What was written since it was last asked adds to the history.
  HistorySize TakeHistoryChange() { return std::exchange(history_change_, {}); }
  absl::Status WriteSeal(const Seal& seal);

  // A row as it was found, whatever it is.
  absl::Status PutRow(const char* table, const StoredRow& row);
  // Of an operation that has ended; false: there is one of this id already, which stays.
  absl::StatusOr<bool> AddEnded(const EndedRow& row);

 private:
  struct Table {
    RecordKind kind;
    SqliteStatement put;
    SqliteStatement remove;

    template <typename Record>
    absl::Status Put(const Record& record);
    absl::Status PutRow(const StoredRow& row);
    absl::Status Remove(const std::string& id);
    template <typename Record>
    absl::Status Write(const std::vector<std::shared_ptr<const Record>>& records,
                       const std::vector<Changes::Removal>& removals);
  };
  struct Statements {
    Table volumes, snapshots, journal, shares, operations;
    SqliteStatement add_ended, forget, put_seal;
  };
  explicit RecordTables(Statements statements) : statements_(std::move(statements)) {}

  static absl::StatusOr<Table> Prepare(SqliteDatabase* database, RecordKind kind,
                                       std::string_view name);
  static absl::StatusOr<Table> PrepareOperations(SqliteDatabase* database);
  absl::Status PutOperation(const OperationRecord& record);
  absl::Status Forget(const std::string& id);

  Statements statements_;
  HistorySize history_change_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_RECORD_TABLES_H_
