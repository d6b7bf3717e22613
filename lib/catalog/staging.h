// Checks transactions against what is there and gives out their revisions, before anything is
// written.
//
// One Staging serves one batch of commits: each transaction sees those that were staged before it,
// as if they had been committed already. Used by the committing thread only; the index must not
// change meanwhile.
#ifndef CAIRN_LIB_CATALOG_STAGING_H_
#define CAIRN_LIB_CATALOG_STAGING_H_

#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "lib/catalog/checksum.h"
#include "lib/catalog/damage.h"
#include "lib/catalog/memory_index.h"
#include "lib/catalog/operations.h"

namespace cairn {

class Staging {
 public:
  // Not owned; they must outlive this.
  Staging(const MemoryIndex* index, const Operations* operations, const Damage* damage)
      : index_(index), operations_(operations), damage_(damage), revision_(index->revision()) {}

  // REVISION_MISMATCH when a put's revision is not the present one, or when its request_id already
  // belongs to another operation; INVALID_FIELD for an empty id or one named twice; VOLUME_STATE for what
  // is stopped, as a record of it cannot be read. Then nothing
  // is staged; nor is anything after an error of the store, where older operations are looked up.
  absl::StatusOr<Changes> Stage(Transaction transaction);

 private:
  using Kind = RecordKind;

  absl::Status Check(const Transaction& transaction) const;
  absl::Status CheckRequestIds(const Transaction& transaction) const;
  absl::StatusOr<int64_t> RevisionOf(Kind kind, const std::string& id) const;
  std::unordered_map<std::string, int64_t>& Staged(Kind kind) {
    return staged_[static_cast<size_t>(kind)];
  }

  // Those that are there: of the others, what was wanted is so.
  absl::StatusOr<std::vector<Changes::Removal>> Present(Kind kind,
                                                        std::vector<std::string> ids) const;
  template <typename Record>
  std::vector<std::shared_ptr<const Record>> Put(Kind kind, std::vector<Record> records,
                                                 Changes* changes);
  void Remove(Kind kind, std::vector<Changes::Removal>* removals, Changes* changes);

  const MemoryIndex* const index_;
  const Operations* const operations_;
  const Damage* const damage_;
  int64_t revision_;
  // By kind: the revision that a key has after what was staged; 0 when it was removed.
  std::unordered_map<std::string, int64_t> staged_[5];
  // By request_id: the operation staged with it.
  std::unordered_map<std::string, std::string> requests_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_STAGING_H_
