// Time, as an interface, so that a test can move it.
//
// Two clocks: the wall clock is for records and people; it may be set, forward or back, at any
// time. All that measures (a duration, a deadline, an age) uses the monotonic one.
#ifndef CAIRN_LIB_BASE_CLOCK_H_
#define CAIRN_LIB_BASE_CLOCK_H_

#include "absl/time/time.h"
#include "lib/base/monotonic_time.h"

namespace cairn {

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall time.
  virtual absl::Time Now() const = 0;
  virtual MonotonicTime Monotonic() const = 0;

  // The system's clocks; never deleted.
  static const Clock* System();
};

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_CLOCK_H_
