// The wall clock as records see it: it never goes back, and no two readings are the same. So the times
// of what was made one after the other stand in that order, whatever was done to the clock of the
// machine: while that is behind what was given out, it goes on in the smallest steps. Thread-safe.
#ifndef CAIRN_LIB_ENGINE_RECORD_CLOCK_H_
#define CAIRN_LIB_ENGINE_RECORD_CLOCK_H_

#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"
#include "lib/catalog/catalog.h"

namespace cairn {

class RecordClock : public Clock {
 public:
  // `system` is not owned.
  explicit RecordClock(const Clock* system) : system_(system) {}

  absl::Time Now() const override;
  MonotonicTime Monotonic() const override { return system_->Monotonic(); }

  // The latest time that was given out.
  absl::Time last() const;
  // From now on all times are after those at which the records of `catalog` were made.
  absl::Status StartAfter(const Catalog& catalog);

 private:
  void StartAfter(absl::Time time);

  const Clock* const system_;
  mutable Mutex mutex_;
  mutable absl::Time last_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace cairn

#endif  // CAIRN_LIB_ENGINE_RECORD_CLOCK_H_
