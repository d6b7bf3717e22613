// What a catalog says of itself as a whole, in one row that each commit writes: how many commits
// there were, over what history, and a digest of every record. So that a file that lacks some, or is
// older than it was, is known as such.
#ifndef CAIRN_LIB_CATALOG_SEAL_H_
#define CAIRN_LIB_CATALOG_SEAL_H_

#include <cstdint>
#include <string>

#include "lib/catalog/memory_index.h"

namespace cairn {

struct Seal {
  std::string id;        // UUID of the catalog
  std::string timeline;  // UUID; another one since an older state was accepted in its place
  int64_t commits = 0;
  uint64_t chain = 0;           // a checksum over every commit, one after the other
  uint64_t digest = 0;          // the sum of DigestOf every record
  int64_t revision = 0;         // the highest that was given out
  int64_t volume_revision = 0;  // the last at which a volume changed
  int64_t closed_revision = 0;  // `revision` at the last clean end

  uint64_t ChecksumOf() const;
  // What a commit changes: first its transactions, then the commit.
  void Add(const Changes& changes);
  void CountCommit();
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_SEAL_H_
