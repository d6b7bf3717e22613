// Ended operations in the SQLite file, found by id, by request_id and in the order of their
// creation.
//
// The store keeps every one; in memory are the newest of them and, apart from those in a table of
// their own (the journal), all that have not ended (memory_index.h). Thread-safe. A connection of its own reads what was committed and
// never waits for the writer.
#ifndef CAIRN_LIB_CATALOG_STORED_OPERATIONS_H_
#define CAIRN_LIB_CATALOG_STORED_OPERATIONS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "lib/catalog/known_requests.h"
#include "lib/catalog/records.h"
#include "lib/catalog/sort_order.h"
#include "lib/catalog/sqlite_database.h"
#include "lib/catalog/stored_record.h"

namespace cairn {

class StoredOperations {
 public:
  // On a connection of its own. The file must have the present schema. `known`: the request_ids of
  // all that it holds, or more; must outlive this.
  static absl::StatusOr<std::unique_ptr<StoredOperations>> Open(const std::string& path,
                                                                const KnownRequests* known);
  // From now on of the file that is at that path now; after an error it is still of the one before.
  // Only after Open.
  absl::Status Reopen();
  // On the writer's connection, for the writer's thread alone; `database` must outlive this.
  static absl::StatusOr<std::unique_ptr<StoredOperations>> On(SqliteDatabase* database,
                                                              const std::string& path,
                                                              const KnownRequests* known);

  // Which are listed; what is empty leaves nothing out.
  struct Among {
    std::string volume_id;
    std::string holding;  // a text in the JSON
  };

  // Null (0) when there is none. IO_ERROR (DATA_LOSS) for a record that cannot be read.
  absl::StatusOr<OperationPtr> Find(const std::string& id);
  absl::StatusOr<OperationPtr> FindByRequest(const std::string& request_id);
  absl::StatusOr<int64_t> RevisionOf(const std::string& id);
  // The ids of those that ended first, at most `count`.
  absl::StatusOr<std::vector<std::string>> Oldest(size_t count);
  // At most `count` in the order of creation, from the place after `after` on (null: from the
  // beginning).
  absl::StatusOr<std::vector<OperationPtr>> After(const Among& among, bool descending,
                                                  const Position* after, size_t count);

 private:
  struct Statements {
    SqliteStatement by_id, by_request, revision, oldest;
    SqliteStatement after[2], after_of_volume[2];  // the second of each descending
  };
  StoredOperations(std::optional<SqliteDatabase> own, std::string path, const KnownRequests* known,
                   Statements statements)
      : path_(std::move(path)),
        known_(*known),
        own_(std::move(own)),
        statements_(std::move(statements)) {}

  static absl::StatusOr<SqliteDatabase> OpenOwn(const std::string& path);
  static absl::StatusOr<Statements> Prepare(SqliteDatabase* database);
  // What the statement gives, which was bound before, to its end.
  static absl::StatusOr<std::vector<EndedRow>> Rows(SqliteStatement* statement);
  absl::StatusOr<OperationPtr> FindWith(SqliteStatement Statements::*statement,
                                        const std::string& key);
  absl::StatusOr<std::vector<OperationPtr>> Decode(const std::vector<EndedRow>& rows) const;

  const std::string path_;
  const KnownRequests& known_;
  Mutex mutex_;
  std::optional<SqliteDatabase> own_ ABSL_GUARDED_BY(mutex_);
  Statements statements_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_STORED_OPERATIONS_H_
