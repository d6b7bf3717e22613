#include "lib/catalog/sqlite_schema.h"

#include <fmt/format.h>

#include <iterator>
#include <utility>

#include "lib/base/id.h"
#include "lib/base/status.h"
#include "lib/catalog/record_json.h"
#include "lib/catalog/seal.h"
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
    StoredRow row{std::string(select.Text(0)), select.Number(1), std::string(select.Text(2))};
    row.checksum = ChecksumOf(row, RecordKind::kOperation);  // there was none
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

// Whatever a row holds: whether it can be read is found out later, as ever.
absl::Status FillChecksums(SqliteDatabase* database, RecordKind kind, const char* table,
                           uint64_t* digest) {
  const bool ended = std::string_view(table) == "operations";
  ASSIGN_OR_RETURN(
      SqliteStatement select,
      database->Prepare(fmt::format("SELECT rowid, id, revision, body{} FROM {}",
                                    ended ? ", created, volume_id, request_id" : "", table)));
  ASSIGN_OR_RETURN(
      SqliteStatement update,
      database->Prepare(fmt::format("UPDATE {} SET checksum = ? WHERE rowid = ?", table)));
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return absl::OkStatus();
    Checksum checksum = RowChecksum(kind, select.Text(1), select.Number(2), select.Text(3));
    if (ended) checksum.Add(select.Text(4)).Add(select.Text(5)).Add(select.Text(6));
    *digest += DigestOf(kind, select.Text(1), select.Number(2));
    update.Bind(1, static_cast<int64_t>(checksum.value()));
    update.Bind(2, select.Number(0));
    RETURN_IF_ERROR(update.Run());
  }
}

absl::Status FillSeal(SqliteDatabase* database, const std::string& /*path*/) {
  Seal seal;
  for (auto [kind, table] :
       {std::pair(RecordKind::kVolume, "volumes"), std::pair(RecordKind::kSnapshot, "snapshots"),
        std::pair(RecordKind::kOperation, "journal"),
        std::pair(RecordKind::kOperation, "operations"), std::pair(RecordKind::kShare, "shares")}) {
    RETURN_IF_ERROR(FillChecksums(database, kind, table, &seal.digest));
  }
  ASSIGN_OR_RETURN(seal.id, database->QueryText("SELECT id FROM catalog"));
  seal.timeline = NewId();
  for (auto [key, number] :
       {std::pair("revision", &seal.revision), std::pair("volume_revision", &seal.volume_revision),
        std::pair("closed_revision", &seal.closed_revision)}) {
    ASSIGN_OR_RETURN(*number, database->QueryNumber(
                                  fmt::format("SELECT value FROM meta WHERE key = '{}'", key)));
  }
  ASSIGN_OR_RETURN(SqliteStatement insert,
                   database->Prepare("INSERT INTO seal VALUES(1, ?, ?, ?, ?, ?, ?, ?, ?, ?)"));
  insert.Bind(1, seal.id);
  insert.Bind(2, seal.timeline);
  insert.Bind(3, seal.commits);
  insert.Bind(4, static_cast<int64_t>(seal.chain));
  insert.Bind(5, static_cast<int64_t>(seal.digest));
  insert.Bind(6, seal.revision);
  insert.Bind(7, seal.volume_revision);
  insert.Bind(8, seal.closed_revision);
  insert.Bind(9, static_cast<int64_t>(seal.ChecksumOf()));
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
    {R"sql(
      ALTER TABLE volumes ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE snapshots ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE journal ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE operations ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE shares ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
      CREATE TABLE seal(
        one INTEGER PRIMARY KEY CHECK(one = 1), id TEXT NOT NULL, timeline TEXT NOT NULL,
        commits INTEGER NOT NULL, chain INTEGER NOT NULL, digest INTEGER NOT NULL,
        revision INTEGER NOT NULL, volume_revision INTEGER NOT NULL,
        closed_revision INTEGER NOT NULL, checksum INTEGER NOT NULL);
    )sql",
     FillSeal,
     R"sql(
      DROP TABLE meta;
      DROP TABLE catalog;
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
