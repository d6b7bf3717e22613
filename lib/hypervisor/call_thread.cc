#include "lib/hypervisor/call_thread.h"

#include <fmt/format.h>
#include <signal.h>

#include <map>
#include <system_error>
#include <thread>
#include <utility>

#include "lib/base/mutex.h"
#include "lib/base/status.h"
#include "lib/os/deadline.h"

namespace cairn {
namespace {

// More than are closing connections at one time, and few enough to be nothing.
constexpr int kLeftBehindMax = 64;

// How many calls are left behind, by name.
class LeftBehind {
 public:
  void Add(const std::string& name) {
    MutexLock lock(&mutex_);
    ++counts_[name];
  }
  void Remove(const std::string& name) {
    MutexLock lock(&mutex_);
    auto found = counts_.find(name);
    if (--found->second == 0) counts_.erase(found);
  }
  int Count(const std::string& name) {
    MutexLock lock(&mutex_);
    auto found = counts_.find(name);
    return found == counts_.end() ? 0 : found->second;
  }

 private:
  Mutex mutex_;
  std::map<std::string, int> counts_ ABSL_GUARDED_BY(mutex_);
};

// Never deleted: threads that were left behind use it, whenever they end.
LeftBehind& TheLeftBehind() {
  static auto* left_behind = new LeftBehind;
  return *left_behind;
}

}  // namespace

void BlockSigpipe() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGPIPE);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

struct CallThread::State {
  std::string name;
  Mutex mutex;
  CondVar changed;
  std::function<void()> call ABSL_GUARDED_BY(mutex);  // empty: none to be begun
  bool running ABSL_GUARDED_BY(mutex) = false;
  bool left_behind ABSL_GUARDED_BY(mutex) = false;  // counted: nobody waits for the call
  bool ending ABSL_GUARDED_BY(mutex) = false;
};

absl::StatusOr<std::unique_ptr<CallThread>> CallThread::Start(const std::string& name) {
  if (int count = TheLeftBehind().Count(name); count >= kLeftBehindMax) {
    return Error(Reason::kHypervisorUnavailable,
                 fmt::format("{} calls to {} have not come back and still hang", count, name),
                 {{"address", name}});
  }
  auto state = std::make_shared<State>();
  state->name = name;
  try {
    std::thread([state] {
      BlockSigpipe();
      Serve(state);
    }).detach();
  } catch (const std::system_error& error) {
    return Error(Reason::kHypervisorUnavailable,
                 fmt::format("no thread for calls to {}: {}", name, error.what()),
                 {{"address", name}});
  }
  return std::unique_ptr<CallThread>(new CallThread(state));
}

CallThread::~CallThread() {
  MutexLock lock(&state_->mutex);
  state_->ending = true;
  state_->changed.NotifyAll();
}

void CallThread::Serve(const std::shared_ptr<State>& state) {
  for (;;) {
    std::function<void()> call;
    {
      MutexLock lock(&state->mutex);
      while (!state->call && !state->ending) state->changed.Wait(&state->mutex);
      if (!state->call) return;
      call = std::exchange(state->call, nullptr);
      state->running = true;
    }
    call();
    call = nullptr;
    MutexLock lock(&state->mutex);
    state->running = false;
    if (state->left_behind) {
      TheLeftBehind().Remove(state->name);
      state->left_behind = false;
    }
    state->changed.NotifyAll();
  }
}

bool CallThread::Run(std::function<void()> call, absl::Duration limit) {
  const Deadline deadline(limit);
  MutexLock lock(&state_->mutex);
  if (state_->ending) return false;
  state_->call = std::move(call);
  state_->changed.NotifyAll();
  while (state_->call || state_->running) {
    if (deadline.passed()) {
      state_->ending = true;
      if (state_->call) {
        state_->call = nullptr;  // not begun: it need not be
      } else {
        state_->left_behind = true;
        TheLeftBehind().Add(state_->name);
      }
      return false;
    }
    state_->changed.WaitFor(&state_->mutex, deadline.left());
  }
  return true;
}

void CallThread::RunLast(std::function<void()> call) {
  MutexLock lock(&state_->mutex);
  state_->call = std::move(call);
  if (!state_->left_behind) {
    state_->left_behind = true;
    TheLeftBehind().Add(state_->name);
  }
  state_->ending = true;
  state_->changed.NotifyAll();
}

}  // namespace cairn
