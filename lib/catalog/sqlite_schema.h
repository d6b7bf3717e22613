// The schema of the catalog's SQLite file and the way to it from earlier versions.
//
//   meta(key, value)              revision, volume_revision (the last one at which a volume changed)
//   volumes(id, revision, body)   body: record_json; snapshots are alike
//   journal(id, revision, body)   operations that have not ended
//   operations(id, revision, body, created, volume_id, request_id)
//                                 those that have; created: time_key of create_time
//   shares(id, revision, body)    id: the address
//   catalog(id)                   one row: the UUID of this catalog
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
