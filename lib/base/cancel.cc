#include "lib/base/cancel.h"

#include "lib/base/status.h"

namespace cairn {

absl::Status CancelToken::Check() const {
  return cancelled() ? Error(Reason::kCancelled, "cancelled on request") : absl::OkStatus();
}

}  // namespace cairn
