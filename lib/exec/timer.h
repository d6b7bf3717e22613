// One thread that calls functions later: time-outs of waits, periodic work. Thread-safe.
#ifndef CAIRN_LIB_EXEC_TIMER_H_
#define CAIRN_LIB_EXEC_TIMER_H_

#include <cstdint>
#include <functional>
#include <memory>

#include "absl/time/time.h"

namespace cairn {

class Timer {
 public:
  Timer();
  // Stop.
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  using Id = uint64_t;
  // `fn` runs on the timer's thread: it must be quick and must not block.
  Id RunAfter(absl::Duration delay, std::function<void()> fn);
  // Calls `fn` every `period` until cancelled.
  Id RunEvery(absl::Duration period, std::function<void()> fn);
  // True when the call had not begun and now never will. Does not wait for one that is running.
  bool Cancel(Id id);
  // Calls nothing any more and waits for a call that is running; what is asked for later is never
  // called. Not from a call of this timer, and not from two threads at once.
  void Stop();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn

#endif  // CAIRN_LIB_EXEC_TIMER_H_
