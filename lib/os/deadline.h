// A time limit on the steady clock: setting the wall clock must not end work early or late.
#ifndef CAIRN_LIB_OS_DEADLINE_H_
#define CAIRN_LIB_OS_DEADLINE_H_

#include <chrono>

#include "absl/time/time.h"

namespace cairn {

class Deadline {
 public:
  // Begins now.
  explicit Deadline(absl::Duration limit) : limit_(limit) {}

  // Negative once it passed.
  absl::Duration left() const {
    return limit_ - absl::FromChrono(std::chrono::steady_clock::now() - start_);
  }
  bool passed() const { return left() <= absl::ZeroDuration(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  absl::Duration limit_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_OS_DEADLINE_H_
