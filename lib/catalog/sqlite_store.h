// The durable form of the records: one SQLite file, its schema, loading it and writing to it.
//
//   meta(key, value)              revision, volume_revision (the last one at which a volume
//   changed) volumes(id, revision, body)   body: record_json; snapshots and operations are alike
//
// PRAGMA user_version is the version of the schema and of the bodies: a field that comes or goes is
// a new version, with a migration. Used by one thread at a time.
#ifndef CAIRN_LIB_CATALOG_SQLITE_STORE_H_
#define CAIRN_LIB_CATALOG_SQLITE_STORE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/sqlite_database.h"

namespace cairn {

class SqliteStore {
 public:
  // Creates the file, or brings its schema up to date. FAILED_PRECONDITION when its schema is
  // newer, when it is another program's, or while another process has it open; IO_ERROR (DATA_LOSS)
  // when it is damaged.
  static absl::StatusOr<std::unique_ptr<SqliteStore>> Open(const std::string& path);

  // IO_ERROR (DATA_LOSS) naming the file, the table and the id of a record that cannot be read.
  absl::Status LoadInto(MemoryIndex* index);

  // All of it durable, or an error and none of it.
  absl::Status Write(const std::vector<Changes>& batch);

 private:
  struct Table {
    SqliteStatement put;
    SqliteStatement remove;
  };
  SqliteStore(SqliteDatabase database, std::string path)
      : database_(std::move(database)), path_(std::move(path)) {}

  absl::Status PrepareStatements();
  absl::StatusOr<Table> PrepareTable(const std::string& name);
  absl::Status WriteAll(const std::vector<Changes>& batch);
  template <typename Record>
  static absl::Status WriteTable(Table& table,
                                 const std::vector<std::shared_ptr<const Record>>& records,
                                 const std::vector<Changes::Removal>& removals);
  absl::Status CheckRevisions(const Changes& loaded, int64_t volume_revision) const;
  absl::Status WriteMeta(const char* key, int64_t value);
  template <typename Decode, typename Ptr>
  absl::Status LoadTable(const std::string& name, const Decode& decode, std::vector<Ptr>* out);

  SqliteDatabase database_;
  const std::string path_;
  std::unique_ptr<Table> volumes_, snapshots_, operations_;
  std::unique_ptr<SqliteStatement> put_meta_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_SQLITE_STORE_H_
