// Time, as an interface, so that a test can move it.
#ifndef CAIRN_LIB_BASE_CLOCK_H_
#define CAIRN_LIB_BASE_CLOCK_H_

#include "absl/time/time.h"

namespace cairn {

class Clock {
 public:
  virtual ~Clock() = default;
  // Wall time, for records and people.
  virtual absl::Time Now() const = 0;

  // The system's clock; never deleted.
  static const Clock* System();
};

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_CLOCK_H_
