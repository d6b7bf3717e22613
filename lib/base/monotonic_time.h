// An instant of the clock that nobody sets: for durations and deadlines.
//
// A type of its own, so that no instant of the wall clock (absl::Time, for records and people) can
// be compared with one of these by mistake. It means nothing outside of this run of the machine, so
// it is never stored.
//
//   const MonotonicTime end = MonotonicTime::Now() + limit;
//   while (!done && MonotonicTime::Now() < end) ...
#ifndef CAIRN_LIB_BASE_MONOTONIC_TIME_H_
#define CAIRN_LIB_BASE_MONOTONIC_TIME_H_

#include <chrono>

#include "absl/time/time.h"

namespace cairn {

class MonotonicTime {
 public:
  // The infinite past.
  constexpr MonotonicTime() = default;

  static MonotonicTime Now() {
    return MonotonicTime(absl::FromChrono(std::chrono::steady_clock::now().time_since_epoch()));
  }
  static constexpr MonotonicTime InfinitePast() { return MonotonicTime(); }
  static constexpr MonotonicTime InfiniteFuture() {
    return MonotonicTime(absl::InfiniteDuration());
  }

  friend absl::Duration operator-(MonotonicTime a, MonotonicTime b) {
    return a.since_epoch_ - b.since_epoch_;
  }
  friend MonotonicTime operator+(MonotonicTime t, absl::Duration d) {
    return MonotonicTime(t.since_epoch_ + d);
  }
  friend MonotonicTime operator-(MonotonicTime t, absl::Duration d) {
    return MonotonicTime(t.since_epoch_ - d);
  }
  MonotonicTime& operator+=(absl::Duration d) {
    since_epoch_ += d;
    return *this;
  }
  friend constexpr bool operator==(MonotonicTime a, MonotonicTime b) {
    return a.since_epoch_ == b.since_epoch_;
  }
  friend constexpr bool operator!=(MonotonicTime a, MonotonicTime b) { return !(a == b); }
  friend constexpr bool operator<(MonotonicTime a, MonotonicTime b) {
    return a.since_epoch_ < b.since_epoch_;
  }
  friend constexpr bool operator>(MonotonicTime a, MonotonicTime b) { return b < a; }
  friend constexpr bool operator<=(MonotonicTime a, MonotonicTime b) { return !(b < a); }
  friend constexpr bool operator>=(MonotonicTime a, MonotonicTime b) { return !(a < b); }

 private:
  explicit constexpr MonotonicTime(absl::Duration since_epoch) : since_epoch_(since_epoch) {}

  absl::Duration since_epoch_ = -absl::InfiniteDuration();
};

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_MONOTONIC_TIME_H_
