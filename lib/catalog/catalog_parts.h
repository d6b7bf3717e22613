// What a catalog over SQLite is made of, and how it is opened.
#ifndef CAIRN_LIB_CATALOG_CATALOG_PARTS_H_
#define CAIRN_LIB_CATALOG_CATALOG_PARTS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "lib/catalog/catalog.h"
#include "lib/catalog/catalog_mark.h"
#include "lib/catalog/damage.h"
#include "lib/catalog/disk_room.h"
#include "lib/catalog/known_requests.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/process_lock.h"
#include "lib/catalog/sqlite_store.h"
#include "lib/catalog/stored_operations.h"
#include "lib/catalog/write_ahead_log.h"

namespace cairn {

struct CatalogParts {
  WriteAheadLog::Options log;
  std::unique_ptr<ProcessLock> lock;
  std::unique_ptr<DiskRoom> room;
  std::unique_ptr<KnownRequests> requests;
  std::unique_ptr<CatalogMark> mark;
  std::unique_ptr<SqliteStore> store;
  std::unique_ptr<MemoryIndex> index;
  std::unique_ptr<Damage> damage;
  std::unique_ptr<StoredOperations> look_ups, lists;
};

// See OpenSqliteCatalog.
absl::StatusOr<CatalogParts> OpenCatalogParts(const SqliteCatalogOptions& options);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_CATALOG_PARTS_H_
