// One fsync for all who want the same thing synced while another one of it is under way: each waits for
// the next to begin, which has what all of them have done before.
#ifndef CAIRN_LIB_OS_SHARED_SYNC_H_
#define CAIRN_LIB_OS_SHARED_SYNC_H_

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "lib/base/mutex.h"

namespace cairn {

// Thread-safe.
class SharedSync {
 public:
  // Returns what a call of `sync`, of this caller's or of another one's with the same `key`, returned that
  // began after this call of Run did. Calls with one key never run at the same time.
  absl::Status Run(const std::string& key, const std::function<absl::Status()>& sync);

 private:
  struct Round {
    bool ended = false;
    absl::Status status;
  };
  struct Rounds {
    bool running = false;
    std::shared_ptr<Round> next;  // null: nobody waits for one
    CondVar changed;
  };

  Mutex mutex_;
  std::map<std::string, std::shared_ptr<Rounds>> by_key_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_LIB_OS_SHARED_SYNC_H_
