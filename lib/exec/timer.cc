#include "lib/exec/timer.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <optional>
#include <thread>
#include <utility>

#include "lib/base/mutex.h"

namespace cairn {
namespace {

// Not the wall clock, which may be set.
using SteadyClock = std::chrono::steady_clock;

// No calls beyond it, nor closer together, so that the sums below cannot overflow and one call does
// not keep the thread to itself.
constexpr absl::Duration kDelayMax = absl::Hours(24 * 365);
constexpr absl::Duration kPeriodMin = absl::Milliseconds(1);

std::chrono::nanoseconds Bounded(absl::Duration delay, absl::Duration min) {
  return absl::ToChronoNanoseconds(std::clamp(delay, min, kDelayMax));
}

struct Call {
  std::function<void()> fn;
  std::optional<std::chrono::nanoseconds> period;
};

}  // namespace

struct Timer::State {
  // Calls of the same instant are made in the order of their ids.
  using Due = std::pair<SteadyClock::time_point, Id>;

  Mutex mutex;
  CondVar changed;
  std::map<Due, Call> calls ABSL_GUARDED_BY(mutex);
  std::map<Id, SteadyClock::time_point> due ABSL_GUARDED_BY(mutex);
  Id last_id ABSL_GUARDED_BY(mutex) = 0;
  Id running_id ABSL_GUARDED_BY(mutex) = 0;
  bool cancel_running ABSL_GUARDED_BY(mutex) = false;
  bool stopping ABSL_GUARDED_BY(mutex) = false;
  std::thread thread;

  Id Add(std::chrono::nanoseconds delay, Call call) ABSL_LOCKS_EXCLUDED(mutex);
  void Put(Due at, Call call) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  std::optional<std::pair<Due, Call>> NextDue() ABSL_LOCKS_EXCLUDED(mutex);
  void AfterCall(Due at, Call call) ABSL_LOCKS_EXCLUDED(mutex);
  void RunCalls();
};

void Timer::State::Put(Due at, Call call) {
  due[at.second] = at.first;
  calls.emplace(at, std::move(call));
}

Timer::Id Timer::State::Add(std::chrono::nanoseconds delay, Call call) {
  MutexLock lock(&mutex);
  Id id = ++last_id;
  Put({SteadyClock::now() + delay, id}, std::move(call));
  if (calls.begin()->first.second == id) changed.NotifyAll();  // it sleeps too long
  return id;
}

// Waits for the next call; none when the timer stops.
std::optional<std::pair<Timer::State::Due, Call>> Timer::State::NextDue() {
  MutexLock lock(&mutex);
  while (!stopping) {
    if (calls.empty()) {
      changed.Wait(&mutex);
      continue;
    }
    auto first = calls.begin();
    SteadyClock::duration left = first->first.first - SteadyClock::now();
    if (left > SteadyClock::duration::zero()) {
      changed.WaitFor(&mutex, absl::FromChrono(left));
      continue;
    }
    std::pair<Due, Call> next(first->first, std::move(first->second));
    calls.erase(first);
    due.erase(next.first.second);
    running_id = next.first.second;
    cancel_running = false;
    return next;
  }
  return std::nullopt;
}

void Timer::State::AfterCall(Due at, Call call) {
  // Destroyed at the end, outside the lock: what `fn` holds may use this timer.
  MutexLock lock(&mutex);
  running_id = 0;
  if (!call.period.has_value() || cancel_running || stopping) return;
  // Calls that were missed are not made up for.
  SteadyClock::time_point next = std::max(at.first + *call.period, SteadyClock::now());
  Put({next, at.second}, std::move(call));
}

void Timer::State::RunCalls() {
  while (auto next = NextDue()) {
    next->second.fn();
    AfterCall(next->first, std::move(next->second));
  }
}

Timer::Timer() : state_(std::make_unique<State>()) {
  State* state = state_.get();
  state->thread = std::thread([state] { state->RunCalls(); });
}

Timer::~Timer() { Stop(); }

void Timer::Stop() {
  {
    MutexLock lock(&state_->mutex);
    state_->stopping = true;
    state_->changed.NotifyAll();
  }
  if (state_->thread.joinable()) state_->thread.join();
}

Timer::Id Timer::RunAfter(absl::Duration delay, std::function<void()> fn) {
  return state_->Add(Bounded(delay, absl::ZeroDuration()), {std::move(fn), std::nullopt});
}

Timer::Id Timer::RunEvery(absl::Duration period, std::function<void()> fn) {
  std::chrono::nanoseconds bounded = Bounded(period, kPeriodMin);
  return state_->Add(bounded, {std::move(fn), bounded});
}

bool Timer::Cancel(Id id) {
  Call cancelled;  // destroyed outside the lock
  MutexLock lock(&state_->mutex);
  if (state_->running_id == id) state_->cancel_running = true;
  auto due = state_->due.find(id);
  if (due == state_->due.end()) return false;
  auto call = state_->calls.find({due->second, id});
  cancelled = std::move(call->second);
  state_->calls.erase(call);
  state_->due.erase(due);
  return true;
}

}  // namespace cairn
