// A clock that a test moves: the wall clock may jump, the monotonic one only goes on. Thread-safe.
#ifndef CAIRN_TESTS_SUPPORT_SET_CLOCK_H_
#define CAIRN_TESTS_SUPPORT_SET_CLOCK_H_

#include "absl/time/time.h"
#include "lib/base/clock.h"
#include "lib/base/mutex.h"

namespace cairn::testing {

class SetClock : public Clock {
 public:
  absl::Time Now() const override {
    MutexLock lock(&mutex_);
    return wall_;
  }
  MonotonicTime Monotonic() const override {
    MutexLock lock(&mutex_);
    return monotonic_;
  }

  // Time goes by.
  void Pass(absl::Duration time) {
    MutexLock lock(&mutex_);
    wall_ += time;
    monotonic_ += time;
  }
  // Somebody sets the wall clock, forward or back.
  void Set(absl::Duration by) {
    MutexLock lock(&mutex_);
    wall_ += by;
  }

 private:
  mutable Mutex mutex_;
  absl::Time wall_ ABSL_GUARDED_BY(mutex_) = absl::FromUnixSeconds(1'700'000'000);
  MonotonicTime monotonic_ ABSL_GUARDED_BY(mutex_) = MonotonicTime::Now();
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SUPPORT_SET_CLOCK_H_
