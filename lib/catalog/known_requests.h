// Whether an operation of a request_id may be in the store, from memory: nearly every request_id is new,
// and to look for it on the disk would take longer than all else that a request needs before it is
// carried out.
#ifndef CAIRN_LIB_CATALOG_KNOWN_REQUESTS_H_
#define CAIRN_LIB_CATALOG_KNOWN_REQUESTS_H_

#include <cstdint>
#include <string_view>

#include "absl/container/flat_hash_map.h"
#include "absl/hash/hash.h"
#include "lib/base/mutex.h"

namespace cairn {

// Thread-safe. Holds hashes, each with how many have it: sixteen bytes a request_id.
class KnownRequests {
 public:
  // Nothing, for an empty one.
  void Add(std::string_view request_id) {
    if (request_id.empty()) return;
    MutexLock lock(&mutex_);
    ++counts_[HashOf(request_id)];
  }
  // One that was added.
  void Remove(std::string_view request_id) {
    if (request_id.empty()) return;
    MutexLock lock(&mutex_);
    auto it = counts_.find(HashOf(request_id));
    if (it != counts_.end() && --it->second == 0) counts_.erase(it);
  }
  // False: there is none. True also for some that are not there.
  bool MayHave(std::string_view request_id) const {
    MutexLock lock(&mutex_);
    return counts_.contains(HashOf(request_id));
  }

 private:
  static uint64_t HashOf(std::string_view text) {
    return absl::HashOf(absl::string_view(text.data(), text.size()));
  }

  mutable Mutex mutex_;
  absl::flat_hash_map<uint64_t, uint32_t> counts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_KNOWN_REQUESTS_H_
