#include "lib/catalog/sqlite_database.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "lib/base/status.h"

namespace cairn {
namespace {

// For whoever looks into the file by hand: it does not stop the server.
constexpr int kBusyMilliseconds = 5000;

// The error of the last call on `database`: what was attempted, on which file, and SQLite's words.
absl::Status ErrorOf(sqlite3* database, const std::string& path, std::string_view attempted) {
  int code = sqlite3_extended_errcode(database);
  std::string message = fmt::format("{}: {}: {}", path, attempted, sqlite3_errmsg(database));
  const int number = sqlite3_system_errno(database);
  if (number != 0) message += fmt::format(" ({})", strerrordesc_np(number));
  // SQLite has a code of its own for ENOSPC alone.
  if (code == SQLITE_IOERR_WRITE && number == EDQUOT) code = SQLITE_FULL;
  switch (code & 0xFF) {  // the primary code
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::FailedPreconditionError(
          fmt::format("{}: another process has this catalog open", path));
    case SQLITE_FULL:
      return Error(Reason::kNoSpace, message, {{"file", path}});
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(Reason::kIoError, message, {{"file", path}});
    default:
      return Error(Reason::kInternal, message,
                   {{"file", path}, {"sqlite_code", std::to_string(code)}});
  }
}

}  // namespace

void SqliteStatement::Bind(int parameter, std::string_view text) {
  // A failure (no memory, no such parameter) leaves NULL, which our NOT NULL columns refuse.
  const char* data = text.data() == nullptr ? "" : text.data();  // a null pointer would be NULL
  sqlite3_bind_text64(statement_.get(), parameter, data, text.size(), SQLITE_STATIC, SQLITE_UTF8);
}

void SqliteStatement::Bind(int parameter, int64_t number) {
  sqlite3_bind_int64(statement_.get(), parameter, number);
}

absl::StatusOr<bool> SqliteStatement::Step() {
  int code = sqlite3_step(statement_.get());
  if (code == SQLITE_ROW) return true;
  absl::Status status;
  if (code != SQLITE_DONE) {
    status = ErrorOf(sqlite3_db_handle(statement_.get()), path_, sqlite3_sql(statement_.get()));
  }
  sqlite3_reset(statement_.get());
  if (!status.ok()) return status;
  return false;
}

absl::Status SqliteStatement::Run() {
  for (;;) {
    ASSIGN_OR_RETURN(bool row, Step());
    if (!row) return absl::OkStatus();
  }
}

std::string_view SqliteStatement::Text(int column) const {
  // The text first: asking for it may convert the value, and with it the length.
  const unsigned char* text = sqlite3_column_text(statement_.get(), column);
  if (text == nullptr) return {};
  return {reinterpret_cast<const char*>(text),
          static_cast<size_t>(sqlite3_column_bytes(statement_.get(), column))};
}

int64_t SqliteStatement::Number(int column) const {
  return sqlite3_column_int64(statement_.get(), column);
}

absl::StatusOr<SqliteDatabase> SqliteDatabase::Open(const std::string& path, File file) {
  sqlite3* raw = nullptr;
  const int create = file == File::kNew ? SQLITE_OPEN_CREATE : 0;
  int code = sqlite3_open_v2(
      path.c_str(), &raw,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | create, nullptr);
  // SQLite gives a handle even when it fails; it holds the message and must be closed.
  SqliteDatabase database(raw, path);
  if (raw == nullptr)
    return Error(Reason::kInternal, fmt::format("{}: no memory for SQLite", path));
  if (code != SQLITE_OK) return ErrorOf(raw, path, "open");
  sqlite3_busy_timeout(raw, kBusyMilliseconds);
  return database;
}

absl::StatusOr<SqliteStatement> SqliteDatabase::Prepare(std::string_view sql) {
  sqlite3_stmt* statement = nullptr;
  int code = sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
  if (code != SQLITE_OK) return ErrorOf(database_.get(), path_, sql);
  return SqliteStatement(statement, path_);
}

absl::Status SqliteDatabase::Execute(const std::string& sql) {
  if (sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) {
    return absl::OkStatus();
  }
  return ErrorOf(database_.get(), path_, sql);
}

absl::StatusOr<std::string> SqliteDatabase::QueryText(std::string_view sql) {
  ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
  ASSIGN_OR_RETURN(bool row, statement.Step());
  return row ? std::string(statement.Text(0)) : std::string();
}

absl::StatusOr<int64_t> SqliteDatabase::QueryNumber(std::string_view sql) {
  ASSIGN_OR_RETURN(SqliteStatement statement, Prepare(sql));
  ASSIGN_OR_RETURN(bool row, statement.Step());
  return row ? statement.Number(0) : 0;
}

void SqliteDatabase::RollBack() {
  if (sqlite3_get_autocommit(database_.get()) == 0) {
    // Fails only when SQLite has rolled back by itself, as it does after some errors.
    sqlite3_exec(database_.get(), "ROLLBACK", nullptr, nullptr, nullptr);
  }
}

absl::Status SqliteDatabase::SetSynced(bool synced) {
  if (synced_ == synced) return absl::OkStatus();
  synced_.reset();
  RETURN_IF_ERROR(Execute(synced ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL"));
  synced_ = synced;
  return absl::OkStatus();
}

void SqliteDatabase::CloseAsItIs() {
  sqlite3_db_config(database_.get(), SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, nullptr);
}

void SqliteDatabase::TakeOverCheckpoints() {
  sqlite3_wal_hook(
      database_.get(),
      [](void* count, sqlite3*, const char*, int pages) {
        *static_cast<int*>(count) = pages;
        return SQLITE_OK;
      },
      log_pages_.get());
}

absl::Status SqliteDatabase::Checkpoint() {
  const int code = sqlite3_wal_checkpoint_v2(database_.get(), nullptr, SQLITE_CHECKPOINT_PASSIVE,
                                             nullptr, nullptr);
  if (code == SQLITE_OK) return absl::OkStatus();
  return ErrorOf(database_.get(), path_, "checkpoint");
}

}  // namespace cairn
