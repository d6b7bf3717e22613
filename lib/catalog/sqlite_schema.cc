#include "lib/catalog/sqlite_schema.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/catalog/record_json.h"
#include "lib/catalog/stored_record.h"
#include "lib/catalog/time_key.h"

namespace cairn {
namespace {

// Those that have not ended go to the journal, the others get columns to be found by.
absl::Status SplitOperations(SqliteDatabase* database, const std::string& path) {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database->Prepare("SELECT id, revision, body FROM operations_1"));
  ASSIGN_OR_RETURN(SqliteStatement unfinished,
                   database->Prepare("INSERT INTO journal VALUES(?, ?, ?)"));
  ASSIGN_OR_RETURN(SqliteStatement ended,
                   database->Prepare("INSERT INTO operations VALUES(?, ?, ?, ?, ?, ?)"));
  for (;;) {
    ASSIGN_OR_RETURN(bool more, select.Step());
    if (!more) return absl::OkStatus();
    const StoredRow row{std::string(select.Text(0)), select.Number(1), std::string(select.Text(2))};
    ASSIGN_OR_RETURN(auto operation, RecordFrom(path, "operations", row, OperationFromJson));
    const std::string created = TimeKey(operation->create_time);
    SqliteStatement& insert = Ended(operation->state) ? ended : unfinished;
    insert.Bind(1, row.id);
    insert.Bind(2, row.revision);
    insert.Bind(3, row.body);
    if (Ended(operation->state)) {
      insert.Bind(4, created);
      insert.Bind(5, operation->volume_id);
      insert.Bind(6, operation->request_id);
    }
    RETURN_IF_ERROR(insert.Run());
  }
}

absl::Status GiveId(SqliteDatabase* database, const std::string& /*path*/) {
  ASSIGN_OR_RETURN(SqliteStatement insert, database->Prepare("INSERT INTO catalog(id) VALUES(?)"));
  const std::string id = NewId();
  insert.Bind(1, id);
  return insert.Run();
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
    // Each B-tree that a commit changes is a page to be written: the journal, which each change of a
    // volume goes through, has no index but its key.
    {R"sql(
      ALTER TABLE operations RENAME TO operations_1;
      CREATE TABLE journal(
        id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL);
      CREATE TABLE operations(
        id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL,
        created TEXT NOT NULL, volume_id TEXT NOT NULL, request_id TEXT NOT NULL);
    )sql",
     SplitOperations,
     R"sql(
      DROP TABLE operations_1;
      CREATE INDEX operations_created ON operations(created, id);
      CREATE INDEX operations_volume ON operations(volume_id, created, id);
      CREATE INDEX operations_request ON operations(request_id) WHERE request_id != '';
      INSERT INTO meta(key, value) SELECT 'closed_revision', value FROM meta WHERE key = 'revision';
    )sql"},
    {R"sql(
      CREATE TABLE catalog(id TEXT NOT NULL);
      CREATE TABLE shares(
        id TEXT PRIMARY KEY NOT NULL, revision INTEGER NOT NULL, body TEXT NOT NULL);
    )sql",
     GiveId},
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
