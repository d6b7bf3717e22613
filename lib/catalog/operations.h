// Every operation: those in memory and, where none is there, the ended ones in the store.
//
// What counts is what was published: the store may be one commit ahead of memory, and what it has
// beyond the published revision is not there yet. Thread-safe.
#ifndef CAIRN_LIB_CATALOG_OPERATIONS_H_
#define CAIRN_LIB_CATALOG_OPERATIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/stored_operations.h"

namespace cairn {

class Operations {
 public:
  // Not owned; they must outlive this. `lists` apart from `look_ups`, so that none of these waits
  // while a filter goes through a long history.
  Operations(const MemoryIndex* index, StoredOperations* look_ups, StoredOperations* lists)
      : index_(index), look_ups_(look_ups), lists_(lists) {}

  // Null when there is none.
  absl::StatusOr<OperationPtr> Find(const std::string& id) const;
  absl::StatusOr<OperationPtr> FindByRequest(const std::string& request_id) const;
  // 0 when there is none.
  absl::StatusOr<int64_t> RevisionOf(const std::string& id) const;

  // As MemoryIndex::VolumesAfter. `among`: of those in the store; of the others, each.
  absl::StatusOr<std::vector<OperationPtr>> After(const StoredOperations::Among& among,
                                                  SortOrder order, const Position* after,
                                                  size_t count) const;
  // Only of those that have not ended, from memory.
  std::vector<OperationPtr> UnfinishedAfter(SortOrder order, const Position* after,
                                            size_t count) const {
    return index_->UnfinishedAfter(order, after, count);
  }

 private:
  absl::StatusOr<std::vector<OperationPtr>> EndedAfter(const StoredOperations::Among& among,
                                                       SortOrder order, const Position* after,
                                                       size_t count) const;
  // A record of the store as it is to be seen; null when it is not.
  OperationPtr Seen(OperationPtr stored) const;

  const MemoryIndex* const index_;
  StoredOperations* const look_ups_;
  StoredOperations* const lists_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_OPERATIONS_H_
