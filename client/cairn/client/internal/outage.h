// How long a stream has brought nothing, and whether to try it again. Belongs to one thread.
#ifndef CAIRN_CLIENT_INTERNAL_OUTAGE_H_
#define CAIRN_CLIENT_INTERNAL_OUTAGE_H_

#include <stop_token>

#include "absl/status/status.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/retry.h"

namespace cairn::client::internal {

class Outage {
 public:
  explicit Outage(const RetryPolicy& policy)
      : policy_(policy), backoff_(policy), last_success_(Clock::now()) {}

  // Something has come.
  void Over() {
    last_success_ = Clock::now();
    failures_ = 0;
    backoff_.Reset();
  }

  // Pauses before the stream is opened again, but not beyond `deadline`. OK: open it. Else what to
  // give to the caller: `error`, when it is not one to try again after, or when it has lasted too
  // long; CANCELLED, when a stop was requested.
  absl::Status Pause(const absl::Status& error, Clock::time_point deadline,
                     const std::stop_token& stop);

  // How often the stream was opened without anything coming.
  int failures() const { return failures_; }

 private:
  const RetryPolicy policy_;
  Backoff backoff_;
  Clock::time_point last_success_;
  int failures_ = 0;
};

}  // namespace cairn::client::internal

#endif  // CAIRN_CLIENT_INTERNAL_OUTAGE_H_
