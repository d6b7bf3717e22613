#include "cairn/client/retry.h"

#include <algorithm>
#include <string>

#include "cairn/client/errors.h"

namespace cairn::client {

bool ShouldRetry(const absl::Status& status) {
  const std::string reason = GetReason(status);
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return true;
    case absl::StatusCode::kAborted:
      return reason != "REVISION_MISMATCH";
    case absl::StatusCode::kResourceExhausted: {
      if (reason == "NO_SPACE" || reason == "NO_ELIGIBLE_SHARE") return false;
      const auto details = GetErrorDetails(status);
      return details.has_value() && details->retry_delay.has_value();
    }
    default:
      return false;
  }
}

Backoff::Backoff(const RetryPolicy& policy, std::optional<uint64_t> seed)
    : policy_(policy), seed_(seed) {
  Reset();
}

std::chrono::milliseconds Backoff::Next(std::chrono::milliseconds minimum) {
  if (!random_.has_value()) random_.emplace(seed_.has_value() ? *seed_ : std::random_device{}());
  std::uniform_real_distribution<double> part(0.5, 1.0);
  const std::chrono::milliseconds pause(static_cast<int64_t>(pause_ms_ * part(*random_)));
  pause_ms_ = std::min(pause_ms_ * std::max(policy_.multiplier, 1.0),
                       static_cast<double>(policy_.max_backoff.count()));
  return std::max(pause, minimum);
}

void Backoff::Reset() { pause_ms_ = static_cast<double>(policy_.initial_backoff.count()); }

}  // namespace cairn::client
