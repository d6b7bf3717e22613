#include "lib/catalog/index_check.h"

#include <fmt/format.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "lib/base/status.h"
#include "lib/catalog/checksum.h"
#include "lib/catalog/sqlite_database.h"

namespace cairn {
namespace {

struct Index {
  const char* table;
  const char* name;
  const char* columns;
  int column_count;
  const char* condition = "";
};

// Those that SQLite makes for the keys, and our own (sqlite_schema.cc).
constexpr Index kIndexes[] = {
    {"volumes", "sqlite_autoindex_volumes_1", "id", 1},
    {"snapshots", "sqlite_autoindex_snapshots_1", "id", 1},
    {"journal", "sqlite_autoindex_journal_1", "id", 1},
    {"shares", "sqlite_autoindex_shares_1", "id", 1},
    {"operations", "sqlite_autoindex_operations_1", "id", 1},
    {"operations", "operations_created", "created, id", 2},
    {"operations", "operations_volume", "volume_id, created, id", 3},
    {"operations", "operations_request", "request_id", 1, "WHERE request_id != ''"},
};

// In whatever order.
absl::StatusOr<uint64_t> SumOf(SqliteDatabase* database, const Index& index,
                               const std::string& through) {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database->Prepare(fmt::format("SELECT rowid, {} FROM {} {} {}", index.columns,
                                                 index.table, through, index.condition)));
  uint64_t sum = 0;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return sum;
    Checksum checksum(static_cast<uint64_t>(select.Number(0)));
    for (int column = 1; column <= index.column_count; ++column) checksum.Add(select.Text(column));
    sum += checksum.value();
  }
}

}  // namespace

absl::Status CheckIndexes(const std::string& path) {
  ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path, SqliteDatabase::File::kOld));
  database.CloseAsItIs();
  RETURN_IF_ERROR(database.Execute("PRAGMA query_only = ON"));
  for (const Index& index : kIndexes) {
    ASSIGN_OR_RETURN(const uint64_t rows, SumOf(&database, index, "NOT INDEXED"));
    ASSIGN_OR_RETURN(const uint64_t entries,
                     SumOf(&database, index, fmt::format("INDEXED BY {}", index.name)));
    if (rows == entries) continue;
    return Error(Reason::kIoError,
                 fmt::format("{}: the catalog is damaged: the index {} is not that of its table; "
                             "restore a backup of it",
                             path, index.name),
                 {{"file", path}, {"table", index.table}});
  }
  return absl::OkStatus();
}

}  // namespace cairn
