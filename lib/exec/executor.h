// A bounded pool of threads with a bounded queue: where all blocking work runs.
//
// Overload is met at two places: Submit refuses when the queue is full, and a task whose deadline
// is nearer than the time it needs is refused when it is taken from the queue (measured: without
// that check, overload with deadlines collapses to no goodput at all). Thread-safe.
#ifndef CAIRN_LIB_EXEC_EXECUTOR_H_
#define CAIRN_LIB_EXEC_EXECUTOR_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/base/cancel.h"
#include "lib/base/monotonic_time.h"
#include "lib/base/mutex.h"

namespace cairn {

struct ExecutorOptions {
  std::string name{};  // for logs and metrics: "share-1/fast"
  int threads = 2;     // started when first needed
  int queue_max = 1000;
  int nice = 0;  // of the threads, and of the children that they start
};

struct Task {
  // Called exactly once, on one of the executor's threads: with OK to do the work; with
  // DEADLINE_EXCEEDED, CANCELLED or UNAVAILABLE (shutting down) when it will not be done.
  std::function<void(const absl::Status& admitted)> run{};
  // Called at most once, by Abandon, while `run` is hanging: whoever waits for its outcome can be
  // told. `run` still returns some day, so the two may race; see OnlyOnce.
  std::function<void(const absl::Status& why)> abandoned{};
  MonotonicTime deadline = MonotonicTime::InfiniteFuture();
  absl::Duration needs = absl::ZeroDuration();  // refuse when less than this is left
  CancelToken cancel{};  // once cancelled it will not be done, and takes no place in the queue
};

struct ExecutorStats {
  int threads_busy = 0;
  int queued = 0;
  int64_t finished_total = 0;
  int64_t refused_total = 0;
  absl::Duration oldest_wait;  // of the task at the head of the queue
  absl::Duration longest_run;  // of the tasks that run now
};

// Lets the first call through and drops the others, whichever threads they come from: for an answer
// that may be given by a task and by its abandonment.
template <typename Answer>
std::function<void(Answer)> OnlyOnce(std::function<void(Answer)> answer) {
  auto given = std::make_shared<std::atomic<bool>>(false);
  return [given, answer = std::move(answer)](Answer value) {
    if (!given->exchange(true)) answer(std::move(value));
  };
}

class Executor {
 public:
  explicit Executor(ExecutorOptions options);
  // Shutdown(InfiniteDuration).
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  // QUEUE_FULL when the queue is full, SHUTTING_DOWN after Shutdown; then `task.run` is not called.
  absl::Status Submit(Task task);

  // For work on something that has stopped answering. On the calling thread, which must be able to
  // bear it: tells `why` to each task that waits, which is thereby done with, and to each that runs,
  // if it has an `abandoned`. The executor goes on.
  void Abandon(const absl::Status& why);

  // Takes no more work, refuses what is queued, waits up to `grace` for what runs. True when all
  // threads ended; false leaves the stuck threads behind (detached: they hold only their own
  // state).
  bool Shutdown(absl::Duration grace);

  ExecutorStats stats() const;

 private:
  struct State;
  absl::Status Queue(Task task);
  std::shared_ptr<State> state_;  // shared with threads that may outlive this object
};

}  // namespace cairn

#endif  // CAIRN_LIB_EXEC_EXECUTOR_H_
