// What became of a commit, for a thread that goes on meanwhile and waits for it later.
#ifndef CAIRN_LIB_CATALOG_COMMIT_OUTCOME_H_
#define CAIRN_LIB_CATALOG_COMMIT_OUTCOME_H_

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "lib/base/mutex.h"

namespace cairn {

// Shared between the two: the one that sets it may still be inside NotifyOne when the other is gone.
// Thread-safe.
class CommitOutcome {
 public:
  void Set(absl::Status status) {
    MutexLock lock(&mutex_);
    status_ = std::move(status);
    ended_.NotifyOne();
  }
  // To be called once. Moved, not shared: reference counts inside abseil are invisible to the thread
  // sanitizer.
  absl::Status Wait() {
    MutexLock lock(&mutex_);
    while (!status_.has_value()) ended_.Wait(&mutex_);
    return *std::move(status_);
  }

 private:
  Mutex mutex_;
  CondVar ended_;
  std::optional<absl::Status> status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_COMMIT_OUTCOME_H_
