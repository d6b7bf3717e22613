#include "cairn/client/internal/call.h"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "absl/strings/str_cat.h"

namespace cairn::client::internal {

std::chrono::milliseconds TimeLeft(Clock::time_point until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now());
  return std::max(left, std::chrono::milliseconds(0));
}

bool SleepFor(std::chrono::milliseconds duration, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::unique_lock lock(mutex);
  changed.wait_for(lock, stop, duration, [] { return false; });
  return !stop.stop_requested();
}

std::chrono::milliseconds ToMilliseconds(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) +
         std::chrono::milliseconds(duration.nanos() / 1'000'000);
}

absl::Status EndOf(const grpc::Status& status, const std::stop_token& stop) {
  absl::Status end = StatusFromGrpc(status);
  if (!absl::IsCancelled(end) || stop.stop_requested() || !GetReason(end).empty()) return end;
  return absl::UnavailableError(absl::StrCat("the server ended the call: ", end.message()));
}

absl::Status RunWithRetries(const RetryPolicy& policy, Clock::time_point deadline,
                            const std::stop_token& stop,
                            const std::function<absl::Status()>& attempt) {
  Backoff backoff(policy);
  for (int attempts = 1;; ++attempts) {
    if (stop.stop_requested()) return absl::CancelledError("given up by the caller");
    const absl::Status status = attempt();
    if (status.ok() || !ShouldRetry(status)) return status;
    const auto details = GetErrorDetails(status);
    const auto wanted = details.has_value() && details->retry_delay.has_value()
                            ? *details->retry_delay
                            : std::chrono::milliseconds(0);
    const auto pause = backoff.Next(wanted);
    if (attempts >= policy.max_attempts || pause >= TimeLeft(deadline)) {
      return attempts == 1 ? status : Annotate(status, absl::StrCat("after ", attempts, " tries"));
    }
    // The loop's head tells a stop from the end of the pause.
    (void)SleepFor(pause, stop);
  }
}

}  // namespace cairn::client::internal
