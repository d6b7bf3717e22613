#include "lib/exec/executor.h"

#include <fmt/format.h>
#include <pthread.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <iterator>
#include <list>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "lib/base/status.h"
#include "lib/os/deadline.h"

namespace cairn {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

struct Queued {
  Task task;
  SteadyTime since;
};

struct Running {
  SteadyTime since;
  std::function<void(const absl::Status&)> abandoned;
};

struct Worker {
  std::thread thread;
  bool ended = false;  // it touches nothing any more
};

}  // namespace

struct Executor::State : std::enable_shared_from_this<State> {
  explicit State(ExecutorOptions options) : options(std::move(options)) {}

  const ExecutorOptions options;

  Mutex mutex;
  CondVar work_or_stop;
  CondVar worker_ended;
  std::deque<Queued> queue ABSL_GUARDED_BY(mutex);
  // Cancelled while they waited and moved out of the way; told before anything else is done.
  std::deque<Queued> cancelled ABSL_GUARDED_BY(mutex);
  std::list<Running> running ABSL_GUARDED_BY(mutex);
  std::list<Worker> workers ABSL_GUARDED_BY(mutex);
  int threads_alive ABSL_GUARDED_BY(mutex) = 0;  // with those that Shutdown left behind
  int threads_busy ABSL_GUARDED_BY(mutex) = 0;
  int64_t finished_total ABSL_GUARDED_BY(mutex) = 0;
  int64_t refused_total ABSL_GUARDED_BY(mutex) = 0;
  bool stopping ABSL_GUARDED_BY(mutex) = false;

  // False when the system has no more threads to give.
  bool StartThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  absl::Status Refuse(absl::Status why) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  absl::Status Admit(const Task& task) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void MoveCancelled() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  void RunTasks();
  bool AllEnded() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
};

bool Executor::State::StartThread() {
  Worker& worker = workers.emplace_back();
  try {
    worker.thread = std::thread([state = shared_from_this(), &worker] {
      // Linux refuses names of more than 15 characters.
      pthread_setname_np(pthread_self(), state->options.name.substr(0, 15).c_str());
      // In Linux of the calling thread alone. Where it is refused, work is done at once as all other.
      if (state->options.nice != 0) setpriority(PRIO_PROCESS, 0, state->options.nice);
      state->RunTasks();
      MutexLock lock(&state->mutex);
      worker.ended = true;
      --state->threads_alive;
      state->worker_ended.NotifyAll();
    });
  } catch (const std::system_error&) {
    workers.pop_back();
    return false;
  }
  ++threads_alive;
  return true;
}

absl::Status Executor::State::Refuse(absl::Status why) {
  ++refused_total;
  return why;
}

absl::Status Executor::State::Admit(const Task& task) {
  if (stopping) return Refuse(Error(Reason::kShuttingDown, "the server is shutting down"));
  if (absl::Status status = task.cancel.Check(); !status.ok()) return Refuse(std::move(status));
  absl::Duration left = task.deadline - MonotonicTime::Now();
  if (left <= absl::ZeroDuration() || left < task.needs) {
    return Refuse(Error(
        Reason::kDeadline,
        fmt::format("not begun: the deadline came too near in the queue of {}", options.name)));
  }
  return absl::OkStatus();
}

void Executor::State::MoveCancelled() {
  const auto first = std::stable_partition(queue.begin(), queue.end(), [](const Queued& queued) {
    return !queued.task.cancel.cancelled();
  });
  std::move(first, queue.end(), std::back_inserter(cancelled));
  queue.erase(first, queue.end());
}

void Executor::State::RunTasks() {
  while (true) {
    Task task;
    absl::Status admitted;
    std::list<Running>::iterator entry;
    {
      MutexLock lock(&mutex);
      while (queue.empty() && cancelled.empty() && !stopping) work_or_stop.Wait(&mutex);
      std::deque<Queued>& from = cancelled.empty() ? queue : cancelled;
      if (from.empty()) return;
      task = std::move(from.front().task);
      from.pop_front();
      admitted = Admit(task);
      ++threads_busy;
      entry = running.insert(running.end(),
                             {std::chrono::steady_clock::now(), std::move(task.abandoned)});
    }
    task.run(admitted);
    // What it holds is given up before it counts as finished.
    task.run = nullptr;
    std::list<Running> ended;
    {
      MutexLock lock(&mutex);
      ended.splice(ended.end(), running, entry);
    }
    ended.clear();
    MutexLock lock(&mutex);
    --threads_busy;
    if (admitted.ok()) ++finished_total;
  }
}

bool Executor::State::AllEnded() const {
  for (const Worker& worker : workers) {
    // An earlier Shutdown gave up those that cannot be joined.
    if (!worker.ended && worker.thread.joinable()) return false;
  }
  return true;
}

Executor::Executor(ExecutorOptions options) {
  options.threads = std::max(options.threads, 1);
  options.queue_max = std::max(options.queue_max, 0);
  state_ = std::make_shared<State>(std::move(options));
}

Executor::~Executor() { Shutdown(absl::InfiniteDuration()); }

absl::Status Executor::Submit(Task task) {
  RETURN_IF_ERROR(Queue(std::move(task)));
  state_->work_or_stop.NotifyOne();  // who wakes does not find the mutex taken
  return absl::OkStatus();
}

absl::Status Executor::Queue(Task task) {
  State& state = *state_;
  MutexLock lock(&state.mutex);
  if (state.stopping) {
    return state.Refuse(Error(Reason::kShuttingDown, "the server is shutting down"));
  }
  const ExecutorOptions& options = state.options;
  int threads_free = options.threads - state.threads_busy;
  if (static_cast<int>(state.queue.size()) >= options.queue_max + threads_free) {
    state.MoveCancelled();
  }
  int queued = static_cast<int>(state.queue.size());
  // What a free thread is about to take does not count as waiting.
  if (queued >= options.queue_max + threads_free) {
    return state.Refuse(Error(Reason::kQueueFull,
                              fmt::format("{}: {} tasks are waiting already", options.name, queued),
                              {{"queue", options.name}}));
  }
  int threads_idle = state.threads_alive - state.threads_busy;
  if (queued >= threads_idle && state.threads_alive < options.threads) {
    // A thread less is bearable as long as there is one.
    if (!state.StartThread() && state.threads_alive == 0) {
      return state.Refuse(
          Error(Reason::kInternal, fmt::format("{}: cannot start a thread", options.name)));
    }
  }
  state.queue.push_back({std::move(task), std::chrono::steady_clock::now()});
  return absl::OkStatus();
}

void Executor::Abandon(const absl::Status& why) {
  std::deque<Queued> waiting;
  std::vector<std::function<void(const absl::Status&)>> hanging;
  {
    MutexLock lock(&state_->mutex);
    waiting.swap(state_->queue);
    std::move(state_->cancelled.begin(), state_->cancelled.end(), std::back_inserter(waiting));
    state_->cancelled.clear();
    state_->refused_total += static_cast<int64_t>(waiting.size());
    for (Running& running : state_->running) {
      if (running.abandoned) hanging.push_back(std::exchange(running.abandoned, nullptr));
    }
  }
  for (const auto& abandoned : hanging) abandoned(why);
  for (const Queued& queued : waiting) queued.task.run(why);
}

bool Executor::Shutdown(absl::Duration grace) {
  State& state = *state_;
  std::list<Worker> ended;
  bool all_ended;
  {
    MutexLock lock(&state.mutex);
    state.stopping = true;
    state.work_or_stop.NotifyAll();
    // All threads may be stuck, yet what is queued must be told.
    const bool waits = !state.queue.empty() || !state.cancelled.empty();
    if (waits && state.threads_busy == state.threads_alive) state.StartThread();
    const Deadline deadline(grace);
    while (!state.AllEnded() && !deadline.passed()) {
      state.worker_ended.WaitFor(&state.mutex, std::min(deadline.left(), absl::Seconds(10)));
    }
    for (auto worker = state.workers.begin(); worker != state.workers.end();) {
      auto current = worker++;
      if (current->ended) {
        ended.splice(ended.end(), state.workers, current);
      } else if (current->thread.joinable()) {
        current->thread.detach();
      }
    }
    all_ended = state.threads_alive == 0;
  }
  for (Worker& worker : ended) {
    if (worker.thread.joinable()) worker.thread.join();
  }
  return all_ended;
}

ExecutorStats Executor::stats() const {
  State& state = *state_;
  MutexLock lock(&state.mutex);
  ExecutorStats stats;
  stats.threads_busy = state.threads_busy;
  stats.queued = static_cast<int>(state.queue.size());
  stats.finished_total = state.finished_total;
  stats.refused_total = state.refused_total;
  const SteadyTime now = std::chrono::steady_clock::now();
  if (!state.queue.empty()) stats.oldest_wait = absl::FromChrono(now - state.queue.front().since);
  for (const Running& running : state.running) {
    stats.longest_run = std::max(stats.longest_run, absl::FromChrono(now - running.since));
  }
  return stats;
}

}  // namespace cairn
