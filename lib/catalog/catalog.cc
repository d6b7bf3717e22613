#include "lib/catalog/catalog.h"

#include <utility>

#include "lib/base/mutex.h"

namespace cairn {

absl::Status Catalog::CommitAndWait(Transaction transaction) {
  // Shared: the catalog's thread may still be inside NotifyOne when the waiter is gone.
  struct Outcome {
    Mutex mutex;
    CondVar ended;
    std::optional<absl::Status> status ABSL_GUARDED_BY(mutex);
  };
  auto outcome = std::make_shared<Outcome>();
  Commit(std::move(transaction), [outcome](absl::Status status) {
    MutexLock lock(&outcome->mutex);
    outcome->status = std::move(status);
    outcome->ended.NotifyOne();
  });
  MutexLock lock(&outcome->mutex);
  while (!outcome->status.has_value()) outcome->ended.Wait(&outcome->mutex);
  // Moved, not shared: reference counts inside abseil are invisible to the thread sanitizer.
  return *std::move(outcome->status);
}

}  // namespace cairn
