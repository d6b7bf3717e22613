#include "lib/catalog/sqlite_store.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <future>
#include <iterator>
#include <thread>
#include <utility>

#include "lib/base/status.h"
#include "lib/catalog/record_json.h"
#include "lib/catalog/sqlite_schema.h"
#include "lib/catalog/stored_record.h"
#include "lib/catalog/time_key.h"

namespace cairn {
namespace {

absl::Status Configure(SqliteDatabase* database, const std::string& path) {
  RETURN_IF_ERROR(database->Execute("PRAGMA cell_size_check = ON"));
  ASSIGN_OR_RETURN(std::string mode, database->QueryText("PRAGMA journal_mode = WAL"));
  if (mode != "wal") {
    return absl::FailedPreconditionError(fmt::format(
        "{}: the file system does not allow SQLite's write-ahead log (mode {})", path, mode));
  }
  RETURN_IF_ERROR(database->SetSynced(true));
  // After a burst the log goes back to this size.
  return database->Execute("PRAGMA journal_size_limit = 67108864");
}

// Damage to pages is found now, not when a record on them is next changed.
absl::Status QuickCheck(SqliteDatabase* database, const std::string& path) {
  ASSIGN_OR_RETURN(std::string result, database->QueryText("PRAGMA quick_check(1)"));
  if (result == "ok") return absl::OkStatus();
  return Error(Reason::kIoError, fmt::format("{}: the catalog is damaged: {}", path, result),
               {{"file", path}});
}

template <typename Record>
void BindRecord(SqliteStatement& statement, const Record& record, const std::string& body) {
  statement.Bind(1, KeyOf(record));
  statement.Bind(2, record.revision);
  statement.Bind(3, body);
}

constexpr size_t kPiece = 1000;  // rows decoded at a time

// How many revisions may have been given out that a power failure takes back.
constexpr int64_t kUnsyncedRevisions = 1000;

size_t DecodersMax() { return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8); }

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& path) {
  // Two servers on one catalog would each trust their own memory.
  ASSIGN_OR_RETURN(ProcessLock lock, ProcessLock::Take(path));
  ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path));
  RETURN_IF_ERROR(Configure(&database, path));
  RETURN_IF_ERROR(QuickCheck(&database, path));
  RETURN_IF_ERROR(MigrateSchema(&database, path));
  std::unique_ptr<SqliteStore> store(new SqliteStore(std::move(lock), std::move(database), path));
  RETURN_IF_ERROR(store->PrepareStatements());
  ASSIGN_OR_RETURN(store->log_, WriteAheadLog::Of(&store->database_, path));
  return store;
}

SqliteStore::~SqliteStore() {
  if (absl::Status status = WriteClosed(); !status.ok()) {
    spdlog::warn("{}: the next start leaves some revisions out: {}", path_, Describe(status));
  }
}

absl::Status SqliteStore::PrepareStatements() {
  ASSIGN_OR_RETURN(volumes_, PrepareTable("volumes"));
  ASSIGN_OR_RETURN(snapshots_, PrepareTable("snapshots"));
  ASSIGN_OR_RETURN(journal_, PrepareTable("journal"));
  ASSIGN_OR_RETURN(shares_, PrepareTable("shares"));
  ASSIGN_OR_RETURN(operations_, PrepareOperations());
  ASSIGN_OR_RETURN(stored_operations_, StoredOperations::On(&database_, path_, &requests_));
  for (auto [statement, sql] :
       {std::pair(&put_meta_,
                  "INSERT INTO meta(key, value) VALUES(?, ?) "
                  "ON CONFLICT(key) DO UPDATE SET value = excluded.value"),
        std::pair(&begin_, "BEGIN IMMEDIATE"), std::pair(&commit_, "COMMIT")}) {
    ASSIGN_OR_RETURN(SqliteStatement prepared, database_.Prepare(sql));
    *statement = std::make_unique<SqliteStatement>(std::move(prepared));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<SqliteStore::Table>> SqliteStore::PrepareTable(
    const std::string& name) {
  ASSIGN_OR_RETURN(
      SqliteStatement put,
      database_.Prepare(fmt::format("INSERT INTO {}(id, revision, body) VALUES(?, ?, ?) ON "
                                    "CONFLICT(id) DO UPDATE SET revision = excluded.revision, "
                                    "body = excluded.body",
                                    name)));
  ASSIGN_OR_RETURN(SqliteStatement remove,
                   database_.Prepare(fmt::format("DELETE FROM {} WHERE id = ?", name)));
  return std::make_unique<Table>(Table{std::move(put), std::move(remove)});
}

absl::StatusOr<std::unique_ptr<SqliteStore::Table>> SqliteStore::PrepareOperations() {
  ASSIGN_OR_RETURN(SqliteStatement put,
                   database_.Prepare("INSERT OR REPLACE INTO operations(id, revision, body, "
                                     "created, volume_id, request_id) VALUES(?, ?, ?, ?, ?, ?)"));
  ASSIGN_OR_RETURN(SqliteStatement remove,
                   database_.Prepare("DELETE FROM operations WHERE id = ?"));
  return std::make_unique<Table>(Table{std::move(put), std::move(remove)});
}

absl::Status SqliteStore::LoadInto(MemoryIndex* index) {
  Changes loaded;
  RETURN_IF_ERROR(LoadTable("volumes", VolumeFromJson, &loaded.volumes));
  RETURN_IF_ERROR(LoadTable("snapshots", SnapshotFromJson, &loaded.snapshots));
  RETURN_IF_ERROR(LoadTable("journal", OperationFromJson, &loaded.operations));
  RETURN_IF_ERROR(LoadTable("shares", ShareFromJson, &loaded.shares));
  RETURN_IF_ERROR(LoadRequests());
  ASSIGN_OR_RETURN(id_, database_.QueryText("SELECT id FROM catalog"));
  auto meta = [this](std::string_view key) {
    return database_.QueryNumber(fmt::format("SELECT value FROM meta WHERE key = '{}'", key));
  };
  ASSIGN_OR_RETURN(loaded.revision, meta("revision"));
  ASSIGN_OR_RETURN(int64_t volume_revision, meta("volume_revision"));
  RETURN_IF_ERROR(CheckRevisions(loaded, volume_revision));
  // After a crash: those that were given out last may be lost, and must not be given out again.
  ASSIGN_OR_RETURN(const int64_t closed, meta("closed_revision"));
  loaded_revision_ = loaded.revision;
  if (closed != loaded.revision) loaded.revision += kUnsyncedRevisions;
  revision_ = synced_revision_ = loaded.revision;
  index->Load(loaded, volume_revision);
  return absl::OkStatus();
}

absl::Status SqliteStore::LoadRequests() {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database_.Prepare("SELECT request_id FROM operations WHERE request_id != ''"));
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return absl::OkStatus();
    requests_.Add(select.Text(0));
  }
}

// A counter behind its records would give out revisions a second time.
absl::Status SqliteStore::CheckRevisions(const Changes& loaded, int64_t volume_revision) {
  ASSIGN_OR_RETURN(int64_t newest, database_.QueryNumber("SELECT max(revision) FROM operations"));
  newest = std::max(newest, volume_revision);
  auto raise = [&](const auto& records) {
    for (const auto& record : records) newest = std::max(newest, record->revision);
  };
  raise(loaded.volumes);
  raise(loaded.snapshots);
  raise(loaded.operations);
  raise(loaded.shares);
  if (newest <= loaded.revision) return absl::OkStatus();
  return Error(Reason::kIoError,
               fmt::format("{}: meta: revision {} is behind that of a record, {}", path_,
                           loaded.revision, newest),
               {{"file", path_}, {"table", "meta"}});
}

// Decoding takes most of the time of a start: it is done in pieces, on as many threads as there are
// processors, while this one reads on.
template <typename Decode, typename Ptr>
absl::Status SqliteStore::LoadTable(const char* name, const Decode& decode, std::vector<Ptr>* out) {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database_.Prepare(fmt::format("SELECT id, revision, body FROM {}", name)));
  using Piece = absl::StatusOr<std::vector<Ptr>>;
  auto decode_piece = [&, name](const std::vector<StoredRow>& rows) -> Piece {
    std::vector<Ptr> records;
    records.reserve(rows.size());
    for (const StoredRow& row : rows) {
      ASSIGN_OR_RETURN(Ptr record, RecordFrom(path_, name, row, decode));
      records.push_back(std::move(record));
    }
    return records;
  };
  std::deque<std::future<Piece>> at_work;  // in the order of the rows
  auto take_first = [&]() -> absl::Status {
    Piece piece = at_work.front().get();
    at_work.pop_front();
    RETURN_IF_ERROR(piece.status());
    out->insert(out->end(), std::make_move_iterator(piece->begin()),
                std::make_move_iterator(piece->end()));
    return absl::OkStatus();
  };
  std::vector<StoredRow> rows;
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(more, select.Step());
    if (more) {
      rows.push_back({std::string(select.Text(0)), select.Number(1), std::string(select.Text(2))});
    }
    if (rows.empty() || (more && rows.size() < kPiece)) continue;
    if (at_work.size() >= DecodersMax()) RETURN_IF_ERROR(take_first());
    at_work.push_back(std::async(std::launch::async, decode_piece, std::exchange(rows, {})));
  }
  while (!at_work.empty()) RETURN_IF_ERROR(take_first());
  return absl::OkStatus();
}

absl::Status SqliteStore::Write(const std::vector<Changes>& batch) {
  const bool synced = MustSync(batch);
  RETURN_IF_ERROR(database_.SetSynced(synced));
  if (absl::Status status = WriteAll(batch); !status.ok()) {
    database_.RollBack();
    return status;
  }
  changed_ = true;
  revision_ = batch.back().revision;
  if (synced) synced_revision_ = revision_;
  log_->Committed(synced);
  return absl::OkStatus();
}

bool SqliteStore::MustSync(const std::vector<Changes>& batch) const {
  if (!changed_) return true;  // from here on the disk says that this has begun after the clean end
  return batch.back().revision - synced_revision_ > kUnsyncedRevisions ||
         std::any_of(batch.begin(), batch.end(),
                     [](const Changes& changes) { return !changes.may_be_durable_later; });
}

absl::Status SqliteStore::WriteClosed() {
  if (!changed_) return absl::OkStatus();
  RETURN_IF_ERROR(database_.SetSynced(true));
  absl::Status status = begin_->Run();
  if (status.ok()) status = WriteMeta("closed_revision", revision_);
  if (status.ok()) status = commit_->Run();
  if (!status.ok()) database_.RollBack();
  return status;
}

absl::Status SqliteStore::WriteAll(const std::vector<Changes>& batch) {
  RETURN_IF_ERROR(begin_->Run());
  int64_t revision = 0;
  int64_t volume_revision = 0;
  for (const Changes& changes : batch) {
    RETURN_IF_ERROR(WriteTable(*volumes_, changes.volumes, changes.removed_volumes));
    RETURN_IF_ERROR(WriteTable(*snapshots_, changes.snapshots, changes.removed_snapshots));
    RETURN_IF_ERROR(WriteTable(*shares_, changes.shares, changes.removed_shares));
    RETURN_IF_ERROR(WriteOperations(changes));
    revision = std::max(revision, changes.revision);
    for (const VolumePtr& volume : changes.volumes) {
      volume_revision = std::max(volume_revision, volume->revision);
    }
    for (const Changes::Removal& removal : changes.removed_volumes) {
      volume_revision = std::max(volume_revision, removal.revision);
    }
  }
  RETURN_IF_ERROR(WriteMeta("revision", revision));
  if (volume_revision != 0) RETURN_IF_ERROR(WriteMeta("volume_revision", volume_revision));
  return commit_->Run();
}

template <typename Record>
absl::Status SqliteStore::WriteTable(Table& table,
                                     const std::vector<std::shared_ptr<const Record>>& records,
                                     const std::vector<Changes::Removal>& removals) {
  for (const auto& record : records) {
    const std::string body = RecordToJson(*record);
    BindRecord(table.put, *record, body);
    if (absl::Status status = table.put.Run(); !status.ok()) {
      return Annotate(status, fmt::format("writing {}", KeyOf(*record)));
    }
  }
  for (const Changes::Removal& removal : removals) RETURN_IF_ERROR(table.Remove(removal.id));
  return absl::OkStatus();
}

absl::Status SqliteStore::Table::Remove(const std::string& id) {
  remove.Bind(1, id);
  return Annotate(remove.Run(), fmt::format("removing {}", id));
}

absl::Status SqliteStore::WriteOperations(const Changes& changes) {
  for (const OperationPtr& record : changes.operations) {
    if (absl::Status status = PutOperation(*record); !status.ok()) {
      return Annotate(status, fmt::format("writing {}", record->id));
    }
  }
  for (const Changes::Removal& removal : changes.removed_operations) {
    RETURN_IF_ERROR(journal_->Remove(removal.id));
    RETURN_IF_ERROR(operations_->Remove(removal.id));
  }
  return absl::OkStatus();
}

// At its end it leaves the journal.
absl::Status SqliteStore::PutOperation(const OperationRecord& record) {
  const std::string body = RecordToJson(record);
  if (!Ended(record.state)) {
    RETURN_IF_ERROR(operations_->Remove(record.id));
    BindRecord(journal_->put, record, body);
    return journal_->put.Run();
  }
  RETURN_IF_ERROR(journal_->Remove(record.id));
  SqliteStatement& put = operations_->put;
  BindRecord(put, record, body);
  const std::string created = TimeKey(record.create_time);
  put.Bind(4, created);
  put.Bind(5, record.volume_id);
  put.Bind(6, record.request_id);
  if (!record.request_id.empty()) requests_.Add(record.request_id);
  return put.Run();
}

absl::Status SqliteStore::WriteMeta(const char* key, int64_t value) {
  put_meta_->Bind(1, key);
  put_meta_->Bind(2, value);
  return put_meta_->Run();
}

}  // namespace cairn
