// Cancellation and progress of long work. Both are cheap values, safe to share between threads.
//
//   CancelSource source;
//   RETURN_IF_ERROR(tool.Convert(..., source.token(), progress));   // elsewhere: source.Cancel()
#ifndef CAIRN_LIB_BASE_CANCEL_H_
#define CAIRN_LIB_BASE_CANCEL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "lib/base/mutex.h"

namespace cairn {

// Asked by the worker. A default-made token is never cancelled.
class CancelToken {
 public:
  CancelToken() = default;
  bool cancelled() const {
    return state_ != nullptr && state_->flag.load(std::memory_order_relaxed);
  }
  // CANCELLED once cancelled, else OK: for RETURN_IF_ERROR between two pieces of work.
  absl::Status Check() const;
  // For who waits instead of asking: `hook` runs once it is cancelled, on the thread that does so; at
  // once if it is already. One hook, the last.
  void OnCancel(std::function<void()> hook) const;

 private:
  friend class CancelSource;
  struct State {
    std::atomic<bool> flag{false};
    Mutex mutex;
    std::function<void()> hook ABSL_GUARDED_BY(mutex);
  };
  explicit CancelToken(std::shared_ptr<State> state) : state_(std::move(state)) {}
  std::shared_ptr<State> state_;
};

// Held by whoever may cancel.
class CancelSource {
 public:
  CancelSource() : state_(std::make_shared<CancelToken::State>()) {}
  void Cancel();
  bool cancelled() const { return state_->flag.load(std::memory_order_relaxed); }
  CancelToken token() const { return CancelToken(state_); }

 private:
  std::shared_ptr<CancelToken::State> state_;
};

// Called now and then by the worker with bytes done and bytes in all; must be quick and
// thread-safe. May be empty.
using ProgressFn = std::function<void(int64_t done_bytes, int64_t total_bytes)>;

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_CANCEL_H_
