// One thread for small work that must not run where it comes up: in a reaction of gRPC or on a
// thread of the catalog. Tasks are quick and never touch a share. Thread-safe.
#ifndef CAIRN_SERVER_BACKGROUND_H_
#define CAIRN_SERVER_BACKGROUND_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <thread>

#include "absl/time/time.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"

namespace cairn {

class Background {
 public:
  Background();
  ~Background() { Stop(); }
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  void Post(std::function<void()> task);
  // Runs `task` every `period`, until removed (it may run once more just then).
  uint64_t Every(absl::Duration period, std::function<void()> task);
  void Remove(uint64_t id);
  // Runs what was posted, then ends the thread; what is posted later never runs. Idempotent.
  void Stop();

 private:
  struct Periodic {
    absl::Duration period;
    MonotonicTime next;
    std::function<void()> task;
  };

  void Run();
  // Moves tasks that are due to posted_; gives the time of the next one.
  MonotonicTime PostDue(MonotonicTime now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  CondVar wake_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  uint64_t last_id_ ABSL_GUARDED_BY(mutex_) = 0;
  std::deque<std::function<void()>> posted_ ABSL_GUARDED_BY(mutex_);
  std::map<uint64_t, Periodic> periodic_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace cairn

#endif  // CAIRN_SERVER_BACKGROUND_H_
