// The schema of the catalog's SQLite file and the way to it from earlier versions.
//
//   seal(...)                     one row about the whole (seal.h), written by each commit
//   volumes(id, revision, body, checksum)
//                                 body: record_json; checksum: checksum.h; snapshots are alike
//   journal(id, revision, body, checksum)
//                                 operations that have not ended
//   operations(id, revision, body, created, volume_id, request_id, checksum)
//                                 those that have; created: time_key of create_time
//   shares(id, revision, body, checksum)
//                                 id: the address
//
// PRAGMA user_version is the version of the schema and of the bodies: a field that comes or goes is
// a new version, with a migration.
#ifndef CAIRN_LIB_CATALOG_SQLITE_SCHEMA_H_
#define CAIRN_LIB_CATALOG_SQLITE_SCHEMA_H_

#include <string>

#include "absl/status/status.h"
#include "lib/catalog/sqlite_database.h"

namespace cairn {

// Creates it in an empty file, or brings it up to date, wholly or not at all. FAILED_PRECONDITION
// when it is newer or another program's; IO_ERROR (DATA_LOSS) for a record that cannot be read.
absl::Status MigrateSchema(SqliteDatabase* database, const std::string& path);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_SQLITE_SCHEMA_H_
