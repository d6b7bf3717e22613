#include "lib/catalog/write_anew.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "lib/base/id.h"
#include "lib/base/size.h"
#include "lib/base/status.h"
#include "lib/catalog/checksum.h"
#include "lib/catalog/record_tables.h"
#include "lib/catalog/sqlite_schema.h"
#include "lib/os/file_system.h"

namespace cairn {
namespace {

// Where a part of the table cannot be read, what lies before it, and after it.
void CopyEnded(SqliteDatabase& old, const char* direction, RecordTables* tables, absl::Status* read,
               absl::Status* written) {
  auto select = old.Prepare(fmt::format(
      "SELECT id, revision, body, checksum, created, volume_id, request_id FROM operations "
      "ORDER BY rowid {}",
      direction));
  *read = select.status();
  while (read->ok() && written->ok()) {
    auto more = select->Step();
    *read = more.status();
    if (!more.ok() || !*more) return;
    EndedRow row;
    row.id = select->Text(0);
    row.revision = select->Number(1);
    row.body = select->Text(2);
    row.checksum = static_cast<uint64_t>(select->Number(3));
    row.created = select->Text(4);
    row.volume_id = select->Text(5);
    row.request_id = select->Text(6);
    *written = tables->AddEnded(row).status();
  }
}

absl::Status CopyEnded(SqliteDatabase& old, RecordTables* tables) {
  absl::Status read, written;
  CopyEnded(old, "ASC", tables, &read, &written);
  if (read.ok() || !written.ok()) return written;
  spdlog::error("some of the operations that have ended cannot be read: {}", Describe(read));
  CopyEnded(old, "DESC", tables, &read, &written);
  return written;
}

absl::StatusOr<uint64_t> DigestOfTable(SqliteDatabase* database, RecordKind kind,
                                       const char* table) {
  ASSIGN_OR_RETURN(SqliteStatement select,
                   database->Prepare(fmt::format("SELECT id, revision FROM {}", table)));
  uint64_t digest = 0;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return digest;
    digest += DigestOf(kind, select.Text(0), select.Number(1));
  }
}

absl::StatusOr<uint64_t> DigestOfAll(SqliteDatabase* database) {
  uint64_t digest = 0;
  for (auto [kind, table] :
       {std::pair(RecordKind::kVolume, "volumes"), std::pair(RecordKind::kSnapshot, "snapshots"),
        std::pair(RecordKind::kOperation, "journal"),
        std::pair(RecordKind::kOperation, "operations"), std::pair(RecordKind::kShare, "shares")}) {
    ASSIGN_OR_RETURN(const uint64_t part, DigestOfTable(database, kind, table));
    digest += part;
  }
  return digest;
}

absl::StatusOr<HistorySize> HistoryOf(SqliteDatabase* database) {
  ASSIGN_OR_RETURN(
      SqliteStatement select,
      database->Prepare("SELECT id, body, created, volume_id, request_id FROM operations"));
  HistorySize size;
  for (;;) {
    ASSIGN_OR_RETURN(const bool more, select.Step());
    if (!more) return size;
    size += {1, EndedRow::BytesOf(select.Text(0), select.Text(1), select.Text(2), select.Text(3),
                                  select.Text(4))};
  }
}

// Those that ended first come first, as ever: of what is in memory they are the last.
absl::Status Fill(SqliteDatabase* database, const WholeCatalog& whole, WrittenAnew* written) {
  Seal* const seal = &written->seal;
  ASSIGN_OR_RETURN(auto tables, RecordTables::On(database));
  RETURN_IF_ERROR(database->Execute("BEGIN"));
  if (whole.old != nullptr) RETURN_IF_ERROR(CopyEnded(*whole.old, tables.get()));
  RETURN_IF_ERROR(tables->Write(whole.records));
  if (whole.damage != nullptr) {
    for (const Damage::Row& each : whole.damage->rows()) {
      RETURN_IF_ERROR(tables->PutRow(each.table, each.row));
    }
  }
  for (const Changes& changes : whole.added) {
    RETURN_IF_ERROR(tables->Write(changes));
    seal->Add(changes);
  }
  ASSIGN_OR_RETURN(const uint64_t digest, DigestOfAll(database));
  if (digest != seal->digest) {
    spdlog::error("not every operation that has ended is in the catalog that was written anew");
  }
  seal->digest = digest;
  seal->CountCommit();
  RETURN_IF_ERROR(tables->WriteSeal(*seal));
  ASSIGN_OR_RETURN(written->history, HistoryOf(database));
  return database->Execute("COMMIT");
}

// What it needs at once: the index of its log, and the log's beginning.
absl::Status CheckCanBeOpened(const std::string& path) {
  constexpr int64_t kNeededBytes = 64 * kKiB;
  ASSIGN_OR_RETURN(const FileSystemStat disk,
                   FileSystem::Posix()->StatFileSystem(DirectoryOf(path)));
  if (disk.available_bytes >= kNeededBytes) return absl::OkStatus();
  return Error(Reason::kNoSpace, fmt::format("{}: no room is left beside it", path),
               {{"file", path}});
}

// Nobody sees the file before it is whole and synced: it needs no journal.
absl::StatusOr<WrittenAnew> WriteFresh(const std::string& path, const WholeCatalog& whole) {
  ASSIGN_OR_RETURN(SqliteDatabase database, SqliteDatabase::Open(path, SqliteDatabase::File::kNew));
  RETURN_IF_ERROR(database.Execute("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF"));
  RETURN_IF_ERROR(MigrateSchema(&database, path));
  WrittenAnew written;
  written.seal = whole.seal;
  RETURN_IF_ERROR(Fill(&database, whole, &written));
  RETURN_IF_ERROR(database.Execute("PRAGMA journal_mode = WAL"));
  RETURN_IF_ERROR(CheckCanBeOpened(path));
  return written;
}

}  // namespace

absl::StatusOr<WrittenAnew> WriteAnew(const CatalogFiles& files, const WholeCatalog& whole) {
  RETURN_IF_ERROR(files.RemoveFresh());
  absl::StatusOr<WrittenAnew> written = WriteFresh(files.fresh(), whole);
  if (!written.ok()) {
    files.RemoveFresh().IgnoreError();  // the next try does it, too
    return written;
  }
  RETURN_IF_ERROR(files.Replace());
  return written;
}

absl::StatusOr<WrittenAnew> WriteAnewWhereItFits(const CatalogFiles& files, WholeCatalog whole,
                                                 const std::function<bool()>& release) {
  const auto full = [](const absl::StatusOr<WrittenAnew>& written) {
    return HasReason(written.status(), Reason::kNoSpace);
  };
  absl::StatusOr<WrittenAnew> written = WriteAnew(files, whole);
  if (full(written) && release()) written = WriteAnew(files, whole);
  if (full(written) && whole.old != nullptr) {
    spdlog::warn("there is no room for the operations that have ended: older ones are given up");
    whole.old = nullptr;
    written = WriteAnew(files, whole);
  }
  if (full(written)) {
    spdlog::warn("there is no room for any of the operations that have ended: they are given up");
    std::erase_if(whole.records.operations,
                  [](const OperationPtr& operation) { return Ended(operation->state); });
    written = WriteAnew(files, whole);
    if (written.ok()) written->kept = HistoryKept::kNone;
  }
  return written;
}

absl::Status CreateCatalog(const CatalogFiles& files) {
  WholeCatalog whole;
  whole.seal.id = NewId();
  whole.seal.timeline = NewId();
  return WriteAnew(files, whole).status();
}

}  // namespace cairn
