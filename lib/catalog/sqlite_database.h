// SQLite with Status: one connection and its prepared statements, closed by their destructors.
//
// A statement must not outlive its database. Used by one thread at a time.
//
//   ASSIGN_OR_RETURN(auto database, SqliteDatabase::Open(path, SqliteDatabase::File::kNew));
//   ASSIGN_OR_RETURN(auto insert, database.Prepare("INSERT INTO meta VALUES(?, ?)"));
//   insert.Bind(1, "revision");
//   insert.Bind(2, 7);
//   RETURN_IF_ERROR(insert.Run());
#ifndef CAIRN_LIB_CATALOG_SQLITE_DATABASE_H_
#define CAIRN_LIB_CATALOG_SQLITE_DATABASE_H_

#include <sqlite3.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cairn {

class SqliteStatement {
 public:
  // Parameters count from 1. The text must stay until the statement was run.
  void Bind(int parameter, std::string_view text);
  void Bind(int parameter, int64_t number);
  // To the next row: true when there is one. Resets the statement at the end and after an error.
  absl::StatusOr<bool> Step();
  // For statements without rows: steps to the end.
  absl::Status Run();
  // Columns count from 0; valid until the next Step.
  std::string_view Text(int column) const;
  int64_t Number(int column) const;

 private:
  friend class SqliteDatabase;
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  SqliteStatement(sqlite3_stmt* statement, std::string_view path)
      : statement_(statement), path_(path) {}

  std::unique_ptr<sqlite3_stmt, Finalize> statement_;
  std::string path_;
};

class SqliteDatabase {
 public:
  // The file must be there, or is made when it is not there.
  enum class File { kOld, kNew };
  static absl::StatusOr<SqliteDatabase> Open(const std::string& path, File file);

  absl::StatusOr<SqliteStatement> Prepare(std::string_view sql);
  // One or more statements whose rows are of no interest.
  absl::Status Execute(const std::string& sql);
  // The first column of the first row.
  absl::StatusOr<std::string> QueryText(std::string_view sql);
  absl::StatusOr<int64_t> QueryNumber(std::string_view sql);
  // Gives a transaction up, if one is open.
  void RollBack();

  // Whether commits wait until they are on the disk (PRAGMA synchronous FULL or NORMAL, where the log
  // is not synced at a commit, only before its pages are copied). Not within a transaction.
  absl::Status SetSynced(bool synced);

  // From now on its end writes nothing: without this, the last connection to a database with a
  // write-ahead log copies what is there and removes the log.
  void CloseAsItIs();

  // For databases with a write-ahead log. Commits no longer make checkpoints, but count pages:
  // log_pages() is how many the log held after the last one.
  void TakeOverCheckpoints();
  int log_pages() const { return *log_pages_; }
  // Copies what nobody reads in the log any more into the database, and makes it durable there.
  // Readers and writers go on; what they have in use is left for the next time.
  absl::Status Checkpoint();

 private:
  struct Close {
    void operator()(sqlite3* database) const { sqlite3_close_v2(database); }
  };
  SqliteDatabase(sqlite3* database, std::string path)
      : database_(database), path_(std::move(path)) {}

  std::unique_ptr<int> log_pages_ = std::make_unique<int>(0);  // SQLite knows where it is
  std::unique_ptr<sqlite3, Close> database_;
  std::string path_;
  std::optional<bool> synced_;  // not known yet
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_SQLITE_DATABASE_H_
