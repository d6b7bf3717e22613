#include "cairn/client/internal/outage.h"

#include <algorithm>

namespace cairn::client::internal {

absl::Status Outage::Pause(const absl::Status& error, Clock::time_point deadline,
                           const std::stop_token& stop) {
  if (stop.stop_requested()) return absl::CancelledError("given up by the caller");
  if (!ShouldRetry(error) || policy_.max_attempts <= 1) return error;
  ++failures_;
  if (Clock::now() - last_success_ >= policy_.max_outage) return error;
  const auto details = GetErrorDetails(error);
  const auto wanted = details.has_value() && details->retry_delay.has_value()
                          ? *details->retry_delay
                          : std::chrono::milliseconds(0);
  if (!SleepFor(std::min(backoff_.Next(wanted), TimeLeft(deadline)), stop))
    return absl::CancelledError("given up by the caller");
  return absl::OkStatus();
}

}  // namespace cairn::client::internal
