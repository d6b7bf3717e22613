// A session of the engine that either side may end at any time: the stream that uses it, or whoever
// abandons the call. Thread-safe.
#ifndef CAIRN_SERVER_SESSION_HOLDER_H_
#define CAIRN_SERVER_SESSION_HOLDER_H_

#include <memory>
#include <utility>

#include "lib/base/mutex.h"
#include "server/background.h"

namespace cairn {

template <typename Session>
class SessionHolder {
 public:
  explicit SessionHolder(Background* background) : background_(background) {}

  // Gives the session up at once if that was asked for before it came.
  void Set(std::unique_ptr<Session> session) {
    std::shared_ptr<Session> given = std::move(session);
    {
      MutexLock lock(&mutex_);
      if (!dropped_) session_.swap(given);
    }
    DestroyLater(std::move(given));
  }
  // Null once it is dropped. Held only for the length of one call.
  std::shared_ptr<Session> Get() {
    MutexLock lock(&mutex_);
    return session_;
  }
  void Drop() {
    std::shared_ptr<Session> given;
    {
      MutexLock lock(&mutex_);
      dropped_ = true;
      session_.swap(given);
    }
    DestroyLater(std::move(given));
  }

 private:
  // Elsewhere, because this may be one of the session's own callbacks.
  void DestroyLater(std::shared_ptr<Session> session) {
    if (session == nullptr) return;
    background_->Post([session = std::move(session)]() mutable { session.reset(); });
  }

  Background* const background_;
  Mutex mutex_;
  bool dropped_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Session> session_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace cairn

#endif  // CAIRN_SERVER_SESSION_HOLDER_H_
