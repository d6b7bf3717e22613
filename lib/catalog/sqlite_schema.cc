#include "lib/catalog/sqlite_schema.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "lib/base/status.h"
#include "lib/catalog/record_json.h"
#include "lib/catalog/stored_record.h"
#include "lib/catalog/time_key.h"

namespace cairn {
namespace {

// Operations get columns to be found by; they are filled from the bodies.
absl::Status FillOperationColumns(SqliteDatabase* database, const std::string& path) {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database->Prepare("SELECT id, revision, body FROM operations"));
  ASSIGN_OR_RETURN(SqliteStatement update,
                   database->Prepare("UPDATE operations SET created = ?, volume_id = ?, "
                                     "request_id = ?, ended = ? WHERE id = ?"));
  for (;;) {
    ASSIGN_OR_RETURN(bool more, select.Step());
    if (!more) return absl::OkStatus();
    const StoredRow row{std::string(select.Text(0)), select.Number(1), std::string(select.Text(2))};
    ASSIGN_OR_RETURN(auto operation, RecordFrom(path, "operations", row, OperationFromJson));
    const std::string created = TimeKey(operation->create_time);
    update.Bind(1, created);
    update.Bind(2, operation->volume_id);
    update.Bind(3, operation->request_id);
    update.Bind(4, Ended(operation->state) ? 1 : 0);
    update.Bind(5, operation->id);
    RETURN_IF_ERROR(update.Run());
  }
}

struct Migration {
  const char* sql;
  absl::Status (*fill)(SqliteDatabase* database, const std::string& path) = nullptr;
  const char* sql_after = "";
};

// One after the other: the Nth brings schema N to N+1. Never changed once released.
constexpr Migration kMigrations[] = {
    {R"sql(
      CREATE TABLE meta(key TEXT PRIMARY KEY NOT NULL, value INTEGER NOT NULL);
      CREATE TABLE volumes(
        id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL);
      CREATE TABLE snapshots(
        id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL);
      CREATE TABLE operations(
        id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL);
      INSERT INTO meta(key, value) VALUES('revision', 0), ('volume_revision', 0);
    )sql"},
    {R"sql(
      ALTER TABLE operations ADD COLUMN created TEXT NOT NULL DEFAULT '';
      ALTER TABLE operations ADD COLUMN volume_id TEXT NOT NULL DEFAULT '';
      ALTER TABLE operations ADD COLUMN request_id TEXT NOT NULL DEFAULT '';
      ALTER TABLE operations ADD COLUMN ended INTEGER NOT NULL DEFAULT 0;
    )sql",
     FillOperationColumns,
     R"sql(
      CREATE INDEX operations_created ON operations(created, id);
      CREATE INDEX operations_volume ON operations(volume_id, created, id);
      CREATE INDEX operations_request ON operations(request_id) WHERE request_id != '';
      CREATE INDEX operations_unfinished ON operations(id) WHERE ended = 0;
    )sql"},
};
constexpr int64_t kSchemaVersion = std::size(kMigrations);

}  // namespace

absl::Status MigrateSchema(SqliteDatabase* database, const std::string& path) {
  RETURN_IF_ERROR(database->Execute("BEGIN IMMEDIATE"));
  ASSIGN_OR_RETURN(int64_t version, database->QueryNumber("PRAGMA user_version"));
  if (version < 0 || version > kSchemaVersion) {
    return absl::FailedPreconditionError(
        fmt::format("{}: schema {} is newer than this program's ({}): start the newer version",
                    path, version, kSchemaVersion));
  }
  ASSIGN_OR_RETURN(int64_t tables, database->QueryNumber("SELECT count(*) FROM sqlite_schema"));
  if (version == 0 && tables > 0) {
    return absl::FailedPreconditionError(
        fmt::format("{}: a database of another program, not a catalog", path));
  }
  for (; version < kSchemaVersion; ++version) {
    const Migration& migration = kMigrations[version];
    RETURN_IF_ERROR(database->Execute(migration.sql));
    if (migration.fill != nullptr) RETURN_IF_ERROR(migration.fill(database, path));
    RETURN_IF_ERROR(database->Execute(migration.sql_after));
    RETURN_IF_ERROR(database->Execute(fmt::format("PRAGMA user_version = {}", version + 1)));
  }
  return database->Execute("COMMIT");
}

}  // namespace cairn
