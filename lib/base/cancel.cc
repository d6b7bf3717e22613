#include "lib/base/cancel.h"

#include <utility>

#include "lib/base/status.h"

namespace cairn {

absl::Status CancelToken::Check() const {
  return cancelled() ? Error(Reason::kCancelled, "cancelled on request") : absl::OkStatus();
}

void CancelToken::OnCancel(std::function<void()> hook) const {
  if (state_ == nullptr) return;
  {
    MutexLock lock(&state_->mutex);
    if (!state_->flag.load(std::memory_order_relaxed)) {
      state_->hook.swap(hook);
      return;
    }
  }
  hook();
}

void CancelSource::Cancel() {
  std::function<void()> hook;
  {
    MutexLock lock(&state_->mutex);
    state_->flag.store(true, std::memory_order_relaxed);
    hook.swap(state_->hook);
  }
  if (hook) hook();
}

}  // namespace cairn
