#include "lib/catalog/stored_operations.h"

#include <fmt/format.h>

#include <utility>

#include "lib/base/status.h"
#include "lib/catalog/record_json.h"
#include "lib/catalog/time_key.h"

namespace cairn {
namespace {

// Before the first and after the last place there is.
constexpr char kBeginning[] = "";
constexpr char kEnd[] = "g";  // no hexadecimal digit

}  // namespace

absl::StatusOr<SqliteDatabase> StoredOperations::OpenOwn(const std::string& path) {
  ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path, SqliteDatabase::File::kOld));
  database.CloseAsItIs();
  RETURN_IF_ERROR(database.Execute("PRAGMA query_only = ON"));
  RETURN_IF_ERROR(database.Execute("PRAGMA cell_size_check = ON"));
  return database;
}

absl::Status StoredOperations::Reopen() {
  ASSIGN_OR_RETURN(SqliteDatabase database, OpenOwn(path_));
  ASSIGN_OR_RETURN(Statements statements, Prepare(&database));
  MutexLock lock(&mutex_);
  statements_ = std::move(statements);  // before the connection that the old ones belong to
  own_ = std::move(database);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<StoredOperations>> StoredOperations::Open(
    const std::string& path, const KnownRequests* known) {
  ASSIGN_OR_RETURN(SqliteDatabase database, OpenOwn(path));
  ASSIGN_OR_RETURN(Statements statements, Prepare(&database));
  return std::unique_ptr<StoredOperations>(
      new StoredOperations(std::move(database), path, known, std::move(statements)));
}

absl::StatusOr<std::unique_ptr<StoredOperations>> StoredOperations::On(SqliteDatabase* database,
                                                                       const std::string& path,
                                                                       const KnownRequests* known) {
  ASSIGN_OR_RETURN(Statements statements, Prepare(database));
  return std::unique_ptr<StoredOperations>(
      new StoredOperations(std::nullopt, path, known, std::move(statements)));
}

absl::StatusOr<StoredOperations::Statements> StoredOperations::Prepare(SqliteDatabase* database) {
  const std::string select =
      "SELECT id, revision, body, checksum, created, volume_id, request_id FROM operations ";
  ASSIGN_OR_RETURN(SqliteStatement by_id, database->Prepare(select + "WHERE id = ?"));
  // The condition on the index is repeated, or it would not be used.
  ASSIGN_OR_RETURN(SqliteStatement by_request,
                   database->Prepare(select + "WHERE request_id = ? AND request_id != ''"));
  ASSIGN_OR_RETURN(SqliteStatement revision,
                   database->Prepare("SELECT revision FROM operations WHERE id = ?"));
  // A row is written when its operation ends, behind all others.
  ASSIGN_OR_RETURN(SqliteStatement oldest,
                   database->Prepare("SELECT id FROM operations ORDER BY rowid LIMIT ?"));
  auto after = [&](const char* of_volume, const char* beyond, const char* direction) {
    return database->Prepare(
        fmt::format("{}WHERE {} (created, id) {} (?1, ?2) AND (?3 = '' OR instr(body, ?3) > 0) "
                    "ORDER BY created {}, id {} LIMIT ?4",
                    select, of_volume, beyond, direction, direction));
  };
  ASSIGN_OR_RETURN(SqliteStatement ascending, after("", ">", "ASC"));
  ASSIGN_OR_RETURN(SqliteStatement descending, after("", "<", "DESC"));
  constexpr char kOfVolume[] = "volume_id = ?5 AND";
  ASSIGN_OR_RETURN(SqliteStatement volume_ascending, after(kOfVolume, ">", "ASC"));
  ASSIGN_OR_RETURN(SqliteStatement volume_descending, after(kOfVolume, "<", "DESC"));
  return Statements{std::move(by_id),
                    std::move(by_request),
                    std::move(revision),
                    std::move(oldest),
                    {std::move(ascending), std::move(descending)},
                    {std::move(volume_ascending), std::move(volume_descending)}};
}

absl::StatusOr<std::vector<EndedRow>> StoredOperations::Rows(SqliteStatement* statement) {
  std::vector<EndedRow> rows;
  for (;;) {
    ASSIGN_OR_RETURN(bool row, statement->Step());
    if (!row) return rows;
    EndedRow& each = rows.emplace_back();
    each.id = statement->Text(0);
    each.revision = statement->Number(1);
    each.body = statement->Text(2);
    each.checksum = static_cast<uint64_t>(statement->Number(3));
    each.created = statement->Text(4);
    each.volume_id = statement->Text(5);
    each.request_id = statement->Text(6);
  }
}

absl::StatusOr<std::vector<OperationPtr>> StoredOperations::Decode(
    const std::vector<EndedRow>& rows) const {
  std::vector<OperationPtr> operations;
  operations.reserve(rows.size());
  for (const EndedRow& row : rows) {
    ASSIGN_OR_RETURN(OperationPtr operation,
                     RecordFrom(path_, "operations", row, OperationFromJson));
    operations.push_back(std::move(operation));
  }
  return operations;
}

absl::StatusOr<OperationPtr> StoredOperations::FindWith(SqliteStatement Statements::*statement,
                                                        const std::string& key) {
  std::vector<EndedRow> rows;
  {
    MutexLock lock(&mutex_);
    SqliteStatement& select = statements_.*statement;
    select.Bind(1, key);
    ASSIGN_OR_RETURN(rows, Rows(&select));
  }
  if (rows.empty()) return OperationPtr();
  return RecordFrom(path_, "operations", rows.front(), OperationFromJson);
}

absl::StatusOr<OperationPtr> StoredOperations::Find(const std::string& id) {
  return FindWith(&Statements::by_id, id);
}

absl::StatusOr<OperationPtr> StoredOperations::FindByRequest(const std::string& request_id) {
  if (request_id.empty() || !known_.MayHave(request_id)) return OperationPtr();
  return FindWith(&Statements::by_request, request_id);
}

absl::StatusOr<int64_t> StoredOperations::RevisionOf(const std::string& id) {
  MutexLock lock(&mutex_);
  SqliteStatement& select = statements_.revision;
  select.Bind(1, id);
  int64_t revision = 0;
  for (;;) {
    ASSIGN_OR_RETURN(bool row, select.Step());
    if (!row) return revision;
    revision = select.Number(0);
  }
}

absl::StatusOr<std::vector<std::string>> StoredOperations::Oldest(size_t count) {
  MutexLock lock(&mutex_);
  SqliteStatement& select = statements_.oldest;
  select.Bind(1, static_cast<int64_t>(count));
  std::vector<std::string> ids;
  for (;;) {
    ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return ids;
    ids.emplace_back(select.Text(0));
  }
}

absl::StatusOr<std::vector<OperationPtr>> StoredOperations::After(const Among& among,
                                                                  bool descending,
                                                                  const Position* after,
                                                                  size_t count) {
  const std::string created = after != nullptr ? TimeKey(after->create_time)
                              : descending     ? kEnd
                                               : kBeginning;
  const std::string id = after != nullptr ? after->id : "";
  std::vector<EndedRow> rows;
  {
    MutexLock lock(&mutex_);
    const bool of_volume = !among.volume_id.empty();
    auto& selects = of_volume ? statements_.after_of_volume : statements_.after;
    SqliteStatement& select = selects[descending ? 1 : 0];
    select.Bind(1, created);
    select.Bind(2, id);
    select.Bind(3, among.holding);
    select.Bind(4, static_cast<int64_t>(count));
    if (of_volume) select.Bind(5, among.volume_id);
    ASSIGN_OR_RETURN(rows, Rows(&select));
  }
  return Decode(rows);
}

}  // namespace cairn
