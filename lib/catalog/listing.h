// The list methods over a MemoryIndex, and over operations wherever they are: what a ListQuery asks for, one page of it.
//
// A page costs its own length plus what its filter leaves out, whatever the size of the catalog.
// The index is asked in pieces, and filters run between them, without its mutex.
#ifndef CAIRN_LIB_CATALOG_LISTING_H_
#define CAIRN_LIB_CATALOG_LISTING_H_

#include <string>

#include "absl/status/statusor.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/operations.h"

namespace cairn {

absl::StatusOr<Page<VolumePtr>> ListVolumes(const MemoryIndex& index, const ListQuery& query);
absl::StatusOr<Page<SnapshotPtr>> ListSnapshots(const MemoryIndex& index, const ListQuery& query,
                                                const std::string& volume_id);
absl::StatusOr<Page<OperationPtr>> ListOperations(const Operations& operations,
                                                  const ListQuery& query);

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_LISTING_H_
