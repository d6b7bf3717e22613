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

namespace cairn {

// Asked by the worker. A default-made token is never cancelled.
class CancelToken {
 public:
  CancelToken() = default;
  bool cancelled() const { return flag_ != nullptr && flag_->load(std::memory_order_relaxed); }
  // CANCELLED once cancelled, else OK: for RETURN_IF_ERROR between two pieces of work.
  absl::Status Check() const;

 private:
  friend class CancelSource;
  explicit CancelToken(std::shared_ptr<const std::atomic<bool>> flag) : flag_(std::move(flag)) {}
  std::shared_ptr<const std::atomic<bool>> flag_;
};

// Held by whoever may cancel.
class CancelSource {
 public:
  CancelSource() : flag_(std::make_shared<std::atomic<bool>>(false)) {}
  void Cancel() { flag_->store(true, std::memory_order_relaxed); }
  bool cancelled() const { return flag_->load(std::memory_order_relaxed); }
  CancelToken token() const { return CancelToken(flag_); }

 private:
  std::shared_ptr<std::atomic<bool>> flag_;
};

// Called now and then by the worker with bytes done and bytes in all; must be quick and
// thread-safe. May be empty.
using ProgressFn = std::function<void(int64_t done_bytes, int64_t total_bytes)>;

}  // namespace cairn

#endif  // CAIRN_LIB_BASE_CANCEL_H_
