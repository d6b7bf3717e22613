// Whether each index of a database of the catalog has what its table has: a look-up through one that
// lacks an entry would say that there is no such record.
#ifndef CAIRN_LIB_CATALOG_INDEX_CHECK_H_
#define CAIRN_LIB_CATALOG_INDEX_CHECK_H_

#include <string>

#include "absl/status/status.h"

namespace cairn {

// On a connection of its own. IO_ERROR (DATA_LOSS) when one has not. SQLite's own check
// (PRAGMA integrity_check) looks each entry up and takes several times as long.
absl::Status CheckIndexes(const std::string& path);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_INDEX_CHECK_H_
