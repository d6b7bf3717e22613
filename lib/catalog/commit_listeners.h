// Who is called after each commit of a catalog.
#ifndef CAIRN_LIB_CATALOG_COMMIT_LISTENERS_H_
#define CAIRN_LIB_CATALOG_COMMIT_LISTENERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <thread>
#include <utility>

#include "lib/base/mutex.h"

namespace cairn {

// Thread-safe; CallAll on one thread at a time.
class CommitListeners {
 public:
  uint64_t Add(std::function<void()> listener) {
    MutexLock lock(&mutex_);
    uint64_t id = ++last_;
    listeners_[id] = std::make_shared<const std::function<void()>>(std::move(listener));
    return id;
  }

  // After it returns the listener is not running and is not called again; except that a listener
  // may remove itself.
  void Remove(uint64_t id) {
    MutexLock lock(&mutex_);
    listeners_.erase(id);
    if (std::this_thread::get_id() == thread_) return;
    while (running_ == id) ended_.Wait(&mutex_);
  }

  void CallAll() {
    uint64_t after = 0;
    for (;;) {
      std::shared_ptr<const std::function<void()>> listener;
      {
        MutexLock lock(&mutex_);
        running_ = 0;
        thread_ = std::this_thread::get_id();
        ended_.NotifyAll();
        auto next = listeners_.upper_bound(after);
        if (next == listeners_.end()) return;
        running_ = after = next->first;
        listener = next->second;
      }
      (*listener)();
    }
  }

 private:
  Mutex mutex_;
  CondVar ended_;
  std::map<uint64_t, std::shared_ptr<const std::function<void()>>> listeners_
      ABSL_GUARDED_BY(mutex_);
  uint64_t last_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t running_ ABSL_GUARDED_BY(mutex_) = 0;    // 0: none
  std::thread::id thread_ ABSL_GUARDED_BY(mutex_);  // that calls them, or did
};

}  // namespace cairn

#endif  // CAIRN_LIB_CATALOG_COMMIT_LISTENERS_H_
