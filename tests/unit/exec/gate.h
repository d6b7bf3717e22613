// A gate at which the threads of a test wait until it is opened.
#ifndef CAIRN_TESTS_UNIT_EXEC_GATE_H_
#define CAIRN_TESTS_UNIT_EXEC_GATE_H_

#include "lib/base/mutex.h"

namespace cairn::testing {

class Gate {
 public:
  void Open() {
    MutexLock lock(&mutex_);
    open_ = true;
    changed_.NotifyAll();
  }
  // Waits until it is open.
  void Pass() {
    MutexLock lock(&mutex_);
    ++arrived_;
    changed_.NotifyAll();
    while (!open_) changed_.Wait(&mutex_);
  }
  // Waits until `count` threads have come to Pass.
  void AwaitWaiting(int count) {
    MutexLock lock(&mutex_);
    while (arrived_ < count) changed_.Wait(&mutex_);
  }

 private:
  Mutex mutex_;
  CondVar changed_;
  bool open_ ABSL_GUARDED_BY(mutex_) = false;
  int arrived_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_UNIT_EXEC_GATE_H_
