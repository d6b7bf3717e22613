// When a call is tried again, and after how long.
//
// Tried again are errors that say that nothing was done, or that leave it open while the repetition
// is safe; every changing request carries a request_id, so repeating it never does it twice:
//
//   UNAVAILABLE         always; also what gRPC cancels at the end of the server
//   ABORTED             unless the reason is one that a repetition meets again (REVISION_MISMATCH)
//   RESOURCE_EXHAUSTED  only if the server says after how long, and it is not space that is missing
//
// Nothing else is: DEADLINE_EXCEEDED means that the caller's own time is over.
// Threads: ShouldRetry is a function; a Backoff belongs to one thread.
#ifndef CAIRN_CLIENT_RETRY_H_
#define CAIRN_CLIENT_RETRY_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <random>

#include "absl/status/status.h"

namespace cairn::client {

struct RetryPolicy {
  // How often a single call is sent at most. 1: never tried again.
  int max_attempts = 6;
  // The pause before the second try. Each further pause is `multiplier` times as long, up to
  // max_backoff; the real pause is a random part of it between a half and the whole, so that
  // clients that failed together do not come back together.
  std::chrono::milliseconds initial_backoff{100};
  std::chrono::milliseconds max_backoff{5'000};
  double multiplier = 2.0;
  // Streams (waiting for an operation, export, import, watch) are not counted in tries: they are
  // taken up again until nothing has come for this long.
  std::chrono::milliseconds max_outage{120'000};
};

// Whether the same request may be sent again after this error.
bool ShouldRetry(const absl::Status& status);

// The pauses between the tries of one call.
class Backoff {
 public:
  explicit Backoff(const RetryPolicy& policy, std::optional<uint64_t> seed = std::nullopt);

  // The next pause; at least `minimum`, which is what the server asked for.
  std::chrono::milliseconds Next(std::chrono::milliseconds minimum = std::chrono::milliseconds(0));
  // Begins with the shortest pause again: something has worked.
  void Reset();

 private:
  const RetryPolicy policy_;
  // Seeded when first needed: few calls are tried twice.
  std::optional<uint64_t> seed_;
  std::optional<std::mt19937_64> random_;
  double pause_ms_ = 0;
};

}  // namespace cairn::client

#endif  // CAIRN_CLIENT_RETRY_H_
