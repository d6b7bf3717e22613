// A whole catalog written into a fresh database file: at its creation, and when the old file is not
// to be trusted any more.
#ifndef CAIRN_LIB_CATALOG_WRITE_ANEW_H_
#define CAIRN_LIB_CATALOG_WRITE_ANEW_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/catalog/catalog_files.h"
#include "lib/catalog/damage.h"
#include "lib/catalog/history.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/seal.h"
#include "lib/catalog/sqlite_database.h"

namespace cairn {

struct WholeCatalog {
  Seal seal;
  Changes records;                 // what is in memory, puts alone
  std::vector<Changes> added;      // transactions on top of that
  const Damage* damage = nullptr;  // rows that stay as they are; may be null
  // Where the ended operations are that are not in memory; null: there are none. Those that cannot be
  // read there are told in the log, and are lost.
  SqliteDatabase* old = nullptr;
};

// What a new one has: its seal, with one commit more, and its operations that have ended.
enum class HistoryKept { kSome, kNone };
struct WrittenAnew {
  Seal seal;
  HistorySize history;
  HistoryKept kept = HistoryKept::kSome;
};

// Puts it in the place of what is there, durably; what is there must not be written meanwhile. After an
// error nothing has changed, or it may have (CatalogFiles::Replace).
absl::StatusOr<WrittenAnew> WriteAnew(const CatalogFiles& files, const WholeCatalog& whole);

// The same on a full disk: `release` gives up what is in reserve, false when there is nothing; then the
// history goes, first what is not in memory. Where it keeps none, memory must forget it, too.
absl::StatusOr<WrittenAnew> WriteAnewWhereItFits(const CatalogFiles& files, WholeCatalog whole,
                                                 const std::function<bool()>& release);

// An empty one, with an id of its own.
absl::Status CreateCatalog(const CatalogFiles& files);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_WRITE_ANEW_H_
