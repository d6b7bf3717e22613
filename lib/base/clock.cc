#include "lib/base/clock.h"

#include "absl/time/clock.h"

namespace cairn {
namespace {

class SystemClock : public Clock {
 public:
  absl::Time Now() const override { return absl::Now(); }
  MonotonicTime Monotonic() const override { return MonotonicTime::Now(); }
};

}  // namespace

const Clock* Clock::System() {
  static const SystemClock clock;
  return &clock;
}

}  // namespace cairn
