#include "lib/catalog/record_tables.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <utility>

#include "lib/base/status.h"
#include "lib/catalog/record_json.h"
#include "lib/catalog/time_key.h"

namespace cairn {
namespace {

void BindRow(SqliteStatement& statement, const StoredRow& row) {
  statement.Bind(1, row.id);
  statement.Bind(2, row.revision);
  statement.Bind(3, row.body);
  statement.Bind(4, static_cast<int64_t>(row.checksum));
}

void BindEnded(SqliteStatement& statement, const EndedRow& row) {
  BindRow(statement, row);
  statement.Bind(5, row.created);
  statement.Bind(6, row.volume_id);
  statement.Bind(7, row.request_id);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordTables>> RecordTables::On(SqliteDatabase* database) {
  ASSIGN_OR_RETURN(Table volumes, Prepare(database, RecordKind::kVolume, "volumes"));
  ASSIGN_OR_RETURN(Table snapshots, Prepare(database, RecordKind::kSnapshot, "snapshots"));
  ASSIGN_OR_RETURN(Table journal, Prepare(database, RecordKind::kOperation, "journal"));
  ASSIGN_OR_RETURN(Table shares, Prepare(database, RecordKind::kShare, "shares"));
  ASSIGN_OR_RETURN(Table operations, PrepareOperations(database));
  ASSIGN_OR_RETURN(
      SqliteStatement add_ended,
      database->Prepare("INSERT INTO operations(id, revision, body, checksum, created, "
                        "volume_id, request_id) VALUES(?, ?, ?, ?, ?, ?, ?) "
                        "ON CONFLICT(id) DO NOTHING RETURNING 1"));
  ASSIGN_OR_RETURN(SqliteStatement forget,
                   database->Prepare("DELETE FROM operations WHERE id = ? "
                                     "RETURNING body, created, volume_id, request_id"));
  ASSIGN_OR_RETURN(
      SqliteStatement put_seal,
      database->Prepare("UPDATE seal SET id = ?, timeline = ?, commits = ?, chain = ?, digest = ?, "
                        "revision = ?, volume_revision = ?, closed_revision = ?, checksum = ? "
                        "WHERE one = 1"));
  return std::unique_ptr<RecordTables>(new RecordTables(
      {std::move(volumes), std::move(snapshots), std::move(journal), std::move(shares),
       std::move(operations), std::move(add_ended), std::move(forget), std::move(put_seal)}));
}

absl::StatusOr<RecordTables::Table> RecordTables::Prepare(SqliteDatabase* database, RecordKind kind,
                                                          std::string_view name) {
  ASSIGN_OR_RETURN(
      SqliteStatement put,
      database->Prepare(fmt::format(
          "INSERT INTO {}(id, revision, body, checksum) VALUES(?, ?, ?, ?) ON CONFLICT(id) DO "
          "UPDATE SET revision = excluded.revision, body = excluded.body, checksum = "
          "excluded.checksum",
          name)));
  ASSIGN_OR_RETURN(SqliteStatement remove,
                   database->Prepare(fmt::format("DELETE FROM {} WHERE id = ?", name)));
  return Table{kind, std::move(put), std::move(remove)};
}

absl::StatusOr<RecordTables::Table> RecordTables::PrepareOperations(SqliteDatabase* database) {
  ASSIGN_OR_RETURN(SqliteStatement put,
                   database->Prepare("INSERT OR REPLACE INTO operations(id, revision, body, "
                                     "checksum, created, volume_id, request_id) "
                                     "VALUES(?, ?, ?, ?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(SqliteStatement remove,
                   database->Prepare("DELETE FROM operations WHERE id = ?"));
  return Table{RecordKind::kOperation, std::move(put), std::move(remove)};
}

template <typename Record>
absl::Status RecordTables::Table::Put(const Record& record) {
  StoredRow row{KeyOf(record), record.revision, RecordToJson(record)};
  row.checksum = RowChecksum(kind, row.id, row.revision, row.body).value();
  return PutRow(row);
}

absl::Status RecordTables::Table::PutRow(const StoredRow& row) {
  BindRow(put, row);
  return Annotate(put.Run(), fmt::format("writing {}", row.id));
}

absl::Status RecordTables::Table::Remove(const std::string& id) {
  remove.Bind(1, id);
  return Annotate(remove.Run(), fmt::format("removing {}", id));
}

template <typename Record>
absl::Status RecordTables::Table::Write(const std::vector<std::shared_ptr<const Record>>& records,
                                        const std::vector<Changes::Removal>& removals) {
  for (const auto& record : records) RETURN_IF_ERROR(Put(*record));
  for (const Changes::Removal& removal : removals) RETURN_IF_ERROR(Remove(removal.id));
  return absl::OkStatus();
}

absl::Status RecordTables::Write(const Changes& changes) {
  RETURN_IF_ERROR(statements_.volumes.Write(changes.volumes, changes.removed_volumes));
  RETURN_IF_ERROR(statements_.snapshots.Write(changes.snapshots, changes.removed_snapshots));
  RETURN_IF_ERROR(statements_.shares.Write(changes.shares, changes.removed_shares));
  for (const OperationPtr& record : changes.operations) RETURN_IF_ERROR(PutOperation(*record));
  for (const Changes::Removal& removal : changes.removed_operations) {
    RETURN_IF_ERROR(statements_.journal.Remove(removal.id));
    RETURN_IF_ERROR(Forget(removal.id));
  }
  return absl::OkStatus();
}

absl::Status RecordTables::Forget(const std::string& id) {
  SqliteStatement& forget = statements_.forget;
  forget.Bind(1, id);
  for (;;) {
    const absl::StatusOr<bool> row = forget.Step();
    if (!row.ok()) return Annotate(row.status(), fmt::format("removing {}", id));
    if (!*row) return absl::OkStatus();
    history_change_ += {
        -1, -EndedRow::BytesOf(id, forget.Text(0), forget.Text(1), forget.Text(2), forget.Text(3))};
  }
}

// At its end it leaves the journal. None comes back from there, nor ends twice: the history is not
// counted as if it did, until the next start.
absl::Status RecordTables::PutOperation(const OperationRecord& record) {
  if (!Ended(record.state)) {
    RETURN_IF_ERROR(statements_.operations.Remove(record.id));
    return statements_.journal.Put(record);
  }
  RETURN_IF_ERROR(statements_.journal.Remove(record.id));
  const EndedRow row = EndedRow::Of(record);
  BindEnded(statements_.operations.put, row);
  history_change_ += {1, row.bytes()};
  return Annotate(statements_.operations.put.Run(), fmt::format("writing {}", row.id));
}

absl::Status RecordTables::PutRow(const char* table, const StoredRow& row) {
  for (auto [name, to] :
       {std::pair("volumes", &statements_.volumes), std::pair("snapshots", &statements_.snapshots),
        std::pair("journal", &statements_.journal), std::pair("shares", &statements_.shares)}) {
    if (std::string_view(name) == table) return to->PutRow(row);
  }
  return absl::InternalError(fmt::format("no table {}", table));
}

absl::StatusOr<bool> RecordTables::AddEnded(const EndedRow& row) {
  BindEnded(statements_.add_ended, row);
  bool added = false;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, statements_.add_ended.Step());
    if (!more) return added;
    added = true;
  }
}

absl::Status RecordTables::WriteSeal(const Seal& seal) {
  SqliteStatement& put = statements_.put_seal;
  put.Bind(1, seal.id);
  put.Bind(2, seal.timeline);
  put.Bind(3, seal.commits);
  put.Bind(4, static_cast<int64_t>(seal.chain));
  put.Bind(5, static_cast<int64_t>(seal.digest));
  put.Bind(6, seal.revision);
  put.Bind(7, seal.volume_revision);
  put.Bind(8, seal.closed_revision);
  put.Bind(9, static_cast<int64_t>(seal.ChecksumOf()));
  return put.Run();
}

}  // namespace cairn
