// Who waits for an operation's end, or watches it. Thread-safe.
#ifndef CAIRN_LIB_ENGINE_OPERATION_WATCHERS_H_
#define CAIRN_LIB_ENGINE_OPERATION_WATCHERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"
#include "lib/catalog/records.h"
#include "lib/engine/engine.h"
#include "lib/exec/timer.h"

namespace cairn {

class OperationWatchers {
 public:
  // `find` gives an operation as it is now. Both must outlive this object.
  OperationWatchers(Timer* timer,
                    std::function<absl::StatusOr<OperationPtr>(const std::string&)> find);
  ~OperationWatchers();

  uint64_t Wait(const std::string& id, MonotonicTime until, OperationCallback done);
  uint64_t Watch(const std::string& id, OperationCallback changed);
  // When it returns the callback does not run and will not (unless it is the callback that calls
  // this).
  void Stop(uint64_t subscription);

  // To be called after each change that people should see, and at the end.
  void Notify(const OperationPtr& operation);

 private:
  struct Subscription;
  using SubscriptionPtr = std::shared_ptr<Subscription>;
  uint64_t Add(SubscriptionPtr subscription);
  SubscriptionPtr Find(uint64_t id);
  void Remove(const Subscription& subscription);
  // The last call also removes the subscription. After it, or after Stop, nothing is called.
  void Call(const SubscriptionPtr& subscription, absl::StatusOr<OperationPtr> operation, bool last);

  Timer* const timer_;
  const std::function<absl::StatusOr<OperationPtr>(const std::string&)> find_;
  Mutex mutex_;
  uint64_t next_id_ ABSL_GUARDED_BY(mutex_) = 1;
  std::map<uint64_t, SubscriptionPtr> by_id_ ABSL_GUARDED_BY(mutex_);
  std::multimap<std::string, uint64_t> by_operation_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_OPERATION_WATCHERS_H_
