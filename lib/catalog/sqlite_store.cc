#include "lib/catalog/sqlite_store.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <deque>
#include <future>
#include <iterator>
#include <thread>
#include <utility>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/catalog/index_check.h"
#include "lib/catalog/record_json.h"
#include "lib/catalog/sqlite_schema.h"
#include "lib/catalog/stored_record.h"

namespace cairn {
namespace {

absl::Status Configure(SqliteDatabase* database, const std::string& path,
                       const WriteAheadLog::Options& log) {
  RETURN_IF_ERROR(database->Execute("PRAGMA cell_size_check = ON"));
  ASSIGN_OR_RETURN(std::string mode, database->QueryText("PRAGMA journal_mode = WAL"));
  if (mode != "wal") {
    return absl::FailedPreconditionError(fmt::format(
        "{}: the file system does not allow SQLite's write-ahead log (mode {})", path, mode));
  }
  RETURN_IF_ERROR(database->SetSynced(true));
  // After a burst the log goes back to this size; on a small disk to its own.
  const bool small = log.bytes > 0 && log.bytes < WriteAheadLog::kFullBytes;
  const int64_t limit = small ? log.bytes : 64 * kMiB;
  return database->Execute(fmt::format("PRAGMA journal_size_limit = {}", limit));
}

// Damage to pages is found now, not when a record on them is next changed.
absl::Status QuickCheck(SqliteDatabase* database, const std::string& path) {
  ASSIGN_OR_RETURN(std::string result, database->QueryText("PRAGMA quick_check(1)"));
  if (result == "ok") return absl::OkStatus();
  return Error(Reason::kIoError, fmt::format("{}: the catalog is damaged: {}", path, result),
               {{"file", path}});
}

constexpr size_t kPiece = 1000;  // rows decoded at a time

// How many revisions may have been given out that a power failure takes back.
constexpr int64_t kUnsyncedRevisions = 1000;

// Whether SQLite has taken a commit back wholly: there was no room for the log's next pages, of which
// the one that makes it a commit is the last; or it has not begun. After any other error, above all
// one of a sync, they may be there.
bool LeavesNothing(const absl::Status& status) {
  return HasReason(status, Reason::kNoSpace) || absl::IsFailedPrecondition(status);
}

size_t DecodersMax() { return std::clamp<size_t>(std::thread::hardware_concurrency(), 1, 8); }

}  // namespace

absl::StatusOr<std::unique_ptr<SqliteStore>> SqliteStore::Open(const std::string& path,
                                                               const WriteAheadLog::Options& log,
                                                               KnownRequests* requests) {
  ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path, SqliteDatabase::File::kOld));
  RETURN_IF_ERROR(Configure(&database, path, log));
  RETURN_IF_ERROR(QuickCheck(&database, path));
  RETURN_IF_ERROR(MigrateSchema(&database, path));
  std::unique_ptr<SqliteStore> store(new SqliteStore(std::move(database), path, requests));
  RETURN_IF_ERROR(store->PrepareStatements());
  ASSIGN_OR_RETURN(store->log_, WriteAheadLog::Of(&store->database_, path, log));
  return store;
}

SqliteStore::~SqliteStore() {
  if (abandoned_) return;
  if (absl::Status status = WriteClosed(); !status.ok()) {
    spdlog::warn("{}: the next start leaves some revisions out: {}", path_, Describe(status));
    database_.CloseAsItIs();
    return;
  }
  if (mark_ == nullptr) return;
  mark_->Durable(seal_.commits, seal_.chain);
  mark_->Close();
}

void SqliteStore::Abandon() {
  abandoned_ = true;
  database_.CloseAsItIs();
}

absl::Status SqliteStore::PrepareStatements() {
  ASSIGN_OR_RETURN(tables_, RecordTables::On(&database_));
  ASSIGN_OR_RETURN(stored_operations_, StoredOperations::On(&database_, path_, &requests_));
  for (auto [statement, sql] :
       {std::pair(&begin_, "BEGIN IMMEDIATE"), std::pair(&commit_, "COMMIT"),
        std::pair(&page_count_, "PRAGMA page_count"),
        std::pair(&free_pages_, "PRAGMA freelist_count")}) {
    ASSIGN_OR_RETURN(SqliteStatement prepared, database_.Prepare(sql));
    *statement = std::make_unique<SqliteStatement>(std::move(prepared));
  }
  return absl::OkStatus();
}

absl::Status SqliteStore::LoadInto(MemoryIndex* index, Damage* damage) {
  ASSIGN_OR_RETURN(seal_, ReadSeal());
  // Meanwhile, as it takes as long as all else.
  std::future<absl::Status> indexes = std::async(std::launch::async, CheckIndexes, path_);
  Changes loaded;
  uint64_t digest = 0;
  RETURN_IF_ERROR(
      LoadTable("volumes", RecordKind::kVolume, VolumeFromJson, &loaded.volumes, damage, &digest));
  RETURN_IF_ERROR(LoadTable("snapshots", RecordKind::kSnapshot, SnapshotFromJson, &loaded.snapshots,
                            damage, &digest));
  RETURN_IF_ERROR(LoadTable("journal", RecordKind::kOperation, OperationFromJson,
                            &loaded.operations, damage, &digest));
  RETURN_IF_ERROR(
      LoadTable("shares", RecordKind::kShare, ShareFromJson, &loaded.shares, nullptr, &digest));
  ASSIGN_OR_RETURN(const uint64_t ended, LoadEnded());
  if (digest + ended != seal_.digest) {
    return Error(Reason::kIoError,
                 fmt::format("{}: the catalog is damaged: its records are not those of its last "
                             "commit ({}); restore a backup of it",
                             path_, seal_.commits),
                 {{"file", path_}});
  }
  RETURN_IF_ERROR(indexes.get());
  damage->Stop(&loaded);
  RETURN_IF_ERROR(CheckRevisions(loaded));
  // After a crash: those that were given out last may be lost, and must not be given out again.
  loaded_revision_ = seal_.revision;
  if (seal_.closed_revision != seal_.revision) seal_.revision += kUnsyncedRevisions;
  synced_revision_ = loaded.revision = seal_.revision;
  index->Load(loaded, seal_.volume_revision);
  return absl::OkStatus();
}

void SqliteStore::GoOnFrom(const Seal& seal, const HistorySize& history) {
  seal_ = seal;
  history_ = history;
  synced_revision_ = seal.revision;
  changed_ = true;
}

absl::Status SqliteStore::BeginTimeline() {
  Seal seal = seal_;
  seal.timeline = NewId();
  RETURN_IF_ERROR(WriteSeal(seal));
  seal_ = std::move(seal);
  return absl::OkStatus();
}

void SqliteStore::Follow(CatalogMark* mark, std::function<void(absl::Status)> failed) {
  mark_ = mark;
  log_->Follow(
      [mark](const WriteAheadLog::Place& place) { mark->Durable(place.commits, place.chain); },
      std::move(failed));
}

absl::StatusOr<Seal> SqliteStore::ReadSeal() {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database_.Prepare("SELECT id, timeline, commits, chain, digest, revision, "
                                     "volume_revision, closed_revision, checksum FROM seal"));
  ASSIGN_OR_RETURN(const bool there, select.Step());
  Seal seal;
  bool right = there;
  if (there) {
    seal.id = select.Text(0);
    seal.timeline = select.Text(1);
    seal.commits = select.Number(2);
    seal.chain = static_cast<uint64_t>(select.Number(3));
    seal.digest = static_cast<uint64_t>(select.Number(4));
    seal.revision = select.Number(5);
    seal.volume_revision = select.Number(6);
    seal.closed_revision = select.Number(7);
    right = static_cast<uint64_t>(select.Number(8)) == seal.ChecksumOf();
    ASSIGN_OR_RETURN(const bool another, select.Step());
    right = right && !another;
  }
  if (right) return seal;
  return Error(Reason::kIoError,
               fmt::format("{}: the catalog is damaged: what it says of itself (the table seal) is "
                           "not as it was written; restore a backup of it",
                           path_),
               {{"file", path_}, {"table", "seal"}});
}

// What they add to the digest. One that cannot be read is told again when it is asked for.
absl::StatusOr<uint64_t> SqliteStore::LoadEnded() {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database_.Prepare("SELECT id, revision, body, created, volume_id, request_id, "
                                     "checksum FROM operations"));
  uint64_t digest = 0;
  int64_t unreadable = 0;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) break;
    const std::string_view id = select.Text(0);
    const std::string_view request_id = select.Text(5);
    digest += DigestOf(RecordKind::kOperation, id, select.Number(1));
    history_ +=
        {1, EndedRow::BytesOf(id, select.Text(2), select.Text(3), select.Text(4), request_id)};
    if (!request_id.empty()) requests_.Add(request_id);
    Checksum checksum = RowChecksum(RecordKind::kOperation, id, select.Number(1), select.Text(2));
    checksum.Add(select.Text(3)).Add(select.Text(4)).Add(request_id);
    if (checksum.value() == static_cast<uint64_t>(select.Number(6))) continue;
    constexpr int64_t kToldMax = 10;
    if (++unreadable > kToldMax) continue;
    spdlog::error("{}: operation {}, which has ended, cannot be read: it is not as it was written",
                  path_, id);
  }
  if (unreadable > 0) {
    spdlog::error("{}: {} operations that have ended cannot be read", path_, unreadable);
  }
  return digest;
}

// A counter behind its records would give out revisions a second time.
absl::Status SqliteStore::CheckRevisions(const Changes& loaded) {
  ASSIGN_OR_RETURN(int64_t newest, database_.QueryNumber("SELECT max(revision) FROM operations"));
  newest = std::max(newest, seal_.volume_revision);
  auto raise = [&](const auto& records) {
    for (const auto& record : records) newest = std::max(newest, record->revision);
  };
  raise(loaded.volumes);
  raise(loaded.snapshots);
  raise(loaded.operations);
  raise(loaded.shares);
  if (newest <= seal_.revision) return absl::OkStatus();
  return Error(Reason::kIoError,
               fmt::format("{}: seal: revision {} is behind that of a record, {}", path_,
                           seal_.revision, newest),
               {{"file", path_}, {"table", "seal"}});
}

// Decoding takes most of the time of a start: it is done in pieces, on as many threads as there are
// processors, while this one reads on.
template <typename Decode, typename Ptr>
absl::Status SqliteStore::LoadTable(const char* name, RecordKind kind, const Decode& decode,
                                    std::vector<Ptr>* out, Damage* damage, uint64_t* digest) {
  ASSIGN_OR_RETURN(
      SqliteStatement select,
      database_.Prepare(fmt::format("SELECT id, revision, body, checksum FROM {}", name)));
  struct Piece {
    std::vector<Ptr> records;
    std::vector<std::pair<StoredRow, absl::Status>> unreadable;
  };
  auto decode_piece = [&, name](std::vector<StoredRow> rows) -> Piece {
    Piece piece;
    piece.records.reserve(rows.size());
    for (StoredRow& row : rows) {
      auto record = RecordFrom(path_, name, row, decode);
      if (record.ok()) {
        piece.records.push_back(*std::move(record));
      } else {
        piece.unreadable.emplace_back(std::move(row), record.status());
      }
    }
    return piece;
  };
  std::deque<std::future<Piece>> at_work;  // in the order of the rows
  auto take_first = [&]() -> absl::Status {
    Piece piece = at_work.front().get();
    at_work.pop_front();
    out->insert(out->end(), std::make_move_iterator(piece.records.begin()),
                std::make_move_iterator(piece.records.end()));
    for (auto& [row, why] : piece.unreadable) {
      if (damage == nullptr) return why;
      damage->Add(name, kind, std::move(row), why);
    }
    return absl::OkStatus();
  };
  std::vector<StoredRow> rows;
  for (bool more = true; more;) {
    ASSIGN_OR_RETURN(more, select.Step());
    if (more) {
      rows.push_back({std::string(select.Text(0)), select.Number(1), std::string(select.Text(2)),
                      static_cast<uint64_t>(select.Number(3))});
      *digest += DigestOf(kind, rows.back().id, rows.back().revision);
    }
    if (rows.empty() || (more && rows.size() < kPiece)) continue;
    if (at_work.size() >= DecodersMax()) RETURN_IF_ERROR(take_first());
    at_work.push_back(std::async(std::launch::async, decode_piece, std::exchange(rows, {})));
  }
  while (!at_work.empty()) RETURN_IF_ERROR(take_first());
  return absl::OkStatus();
}

SqliteStore::Written SqliteStore::Write(const std::vector<Changes>& batch) {
  const bool synced = MustSync(batch);
  Seal seal = seal_;
  for (const Changes& changes : batch) seal.Add(changes);
  seal.CountCommit();
  absl::Status status = database_.SetSynced(synced);
  if (status.ok()) status = WriteAll(batch, seal);
  const HistorySize history_change = tables_->TakeHistoryChange();
  if (!status.ok()) {
    database_.RollBack();
    return {LeavesNothing(status) ? Outcome::kNothing : Outcome::kInDoubt, std::move(status)};
  }
  changed_ = true;
  history_ += history_change;
  status = log_->Committed({seal.commits, seal.chain}, synced);
  if (!status.ok()) return {Outcome::kInDoubt, std::move(status)};
  seal_ = std::move(seal);
  if (synced) synced_revision_ = seal_.revision;
  return {};
}

bool SqliteStore::MustSync(const std::vector<Changes>& batch) const {
  if (!changed_) return true;  // from here on the disk says that this has begun after the clean end
  return batch.back().revision - synced_revision_ > kUnsyncedRevisions ||
         std::any_of(batch.begin(), batch.end(),
                     [](const Changes& changes) { return !changes.may_be_durable_later; });
}

absl::StatusOr<DiskRoom::Database> SqliteStore::Room() {
  constexpr int64_t kPageBytes = 4096;
  int64_t pages = 0, free_pages = 0;
  for (auto [statement, number] :
       {std::pair(page_count_.get(), &pages), std::pair(free_pages_.get(), &free_pages)}) {
    ASSIGN_OR_RETURN(const bool row, statement->Step());
    if (row) *number = statement->Number(0);
    RETURN_IF_ERROR(statement->Run());  // to its end
  }
  ASSIGN_OR_RETURN(const FileStat file, FileSystem::Posix()->Stat(path_));
  return DiskRoom::Database{std::max<int64_t>(pages * kPageBytes - file.size_bytes, 0),
                            free_pages * kPageBytes};
}

absl::Status SqliteStore::WriteClosed() {
  if (!changed_) return absl::OkStatus();
  Seal seal = seal_;
  seal.closed_revision = seal.revision;
  RETURN_IF_ERROR(WriteSeal(seal));
  seal_ = std::move(seal);
  // As the end of the connection would do it without a word.
  return database_.Checkpoint();
}

absl::Status SqliteStore::WriteSeal(const Seal& seal) {
  RETURN_IF_ERROR(database_.SetSynced(true));
  absl::Status status = begin_->Run();
  if (status.ok()) status = tables_->WriteSeal(seal);
  if (status.ok()) status = commit_->Run();
  if (!status.ok()) database_.RollBack();
  return status;
}

absl::Status SqliteStore::WriteAll(const std::vector<Changes>& batch, const Seal& seal) {
  RETURN_IF_ERROR(begin_->Run());
  for (const Changes& changes : batch) {
    RETURN_IF_ERROR(tables_->Write(changes));
    for (const OperationPtr& record : changes.operations) {
      if (Ended(record->state) && !record->request_id.empty()) requests_.Add(record->request_id);
    }
  }
  RETURN_IF_ERROR(tables_->WriteSeal(seal));
  return commit_->Run();
}

}  // namespace cairn
