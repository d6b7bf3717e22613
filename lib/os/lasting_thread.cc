#include "lib/os/lasting_thread.h"

#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <map>
#include <system_error>
#include <thread>

#include "lib/base/mutex.h"
#include "lib/base/status.h"

namespace cairn {
namespace {

class LastingThread {
 public:
  // Throws as std::thread does.
  LastingThread() {
    std::thread([this] { Serve(); }).detach();
  }

  void Run(const std::function<void()>& work) {
    MutexLock lock(&mutex_);
    work_ = &work;
    changed_.NotifyAll();
    while (work_ != nullptr) changed_.Wait(&mutex_);
  }

 private:
  [[noreturn]] void Serve() {
    pthread_setname_np(pthread_self(), "children");
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, nullptr);
    for (;;) {
      const std::function<void()>* work = nullptr;
      {
        MutexLock lock(&mutex_);
        while (work_ == nullptr) changed_.Wait(&mutex_);
        work = work_;
      }
      (*work)();
      MutexLock lock(&mutex_);
      work_ = nullptr;
      changed_.NotifyAll();
    }
  }

  Mutex mutex_;
  CondVar changed_;
  const std::function<void()>* work_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

// Never deleted, as its threads never end.
struct IdleThreads {
  Mutex mutex;
  // By priority: a thread inherits that of the one that starts it, and a child that of its own.
  std::multimap<int, LastingThread*> by_nice ABSL_GUARDED_BY(mutex);
};

IdleThreads& Idle() {
  static IdleThreads* const idle = new IdleThreads;
  return *idle;
}

LastingThread* TakeIdle(int nice) {
  IdleThreads& idle = Idle();
  MutexLock lock(&idle.mutex);
  auto found = idle.by_nice.find(nice);
  if (found == idle.by_nice.end()) return nullptr;
  LastingThread* thread = found->second;
  idle.by_nice.erase(found);
  return thread;
}

}  // namespace

absl::Status RunOnLastingThread(const std::function<void()>& work) {
  const int nice = getpriority(PRIO_PROCESS, 0);  // in Linux of the calling thread
  LastingThread* thread = TakeIdle(nice);
  if (thread == nullptr) {
    try {
      thread = new LastingThread;
    } catch (const std::system_error& error) {
      return Error(Reason::kInternal, fmt::format("cannot start a thread: {}", error.what()));
    }
  }
  thread->Run(work);
  IdleThreads& idle = Idle();
  MutexLock lock(&idle.mutex);
  idle.by_nice.emplace(nice, thread);
  return absl::OkStatus();
}

}  // namespace cairn
