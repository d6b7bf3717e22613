// One call with its tries: deadline, retry, and giving up when the caller says so.
#ifndef CAIRN_CLIENT_INTERNAL_CALL_H_
#define CAIRN_CLIENT_INTERNAL_CALL_H_

#include <grpc/support/time.h>
#include <grpcpp/client_context.h>

#include <chrono>
#include <functional>
#include <optional>
#include <stop_token>

#include "absl/status/statusor.h"
#include "cairn/client/errors.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/options.h"

namespace cairn::client::internal {

using Clock = std::chrono::steady_clock;

// How long until then; zero when it is past.
std::chrono::milliseconds TimeLeft(Clock::time_point until);

// For gRPC, which would take a time of the C++ library as one of the wall clock, which may be set.
inline gpr_timespec DeadlineIn(std::chrono::milliseconds left) {
  return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                      gpr_time_from_millis(left.count(), GPR_TIMESPAN));
}

inline void SetDeadline(grpc::ClientContext* context, Clock::time_point until) {
  context->set_deadline(DeadlineIn(TimeLeft(until)));
}

// Sleeps; false when `stop` was requested first.
bool SleepFor(std::chrono::milliseconds duration, const std::stop_token& stop);

// How long the server was asked to hold its reply. Unset fields: nothing.
std::chrono::milliseconds ToMilliseconds(const google::protobuf::Duration& duration);

// Cancels a call as long as it is in scope and the caller asks for it.
class CancelOnStop {
 public:
  CancelOnStop(const std::stop_token& stop, grpc::ClientContext* context)
      : callback_(stop, Cancel{context}) {}

 private:
  struct Cancel {
    grpc::ClientContext* context;
    void operator()() const { context->TryCancel(); }
  };
  std::stop_callback<Cancel> callback_;
};

// How a call ended. gRPC says CANCELLED also when the server ends before it has answered; without a
// word of the service, and without the caller's doing, that is an outage like any other.
absl::Status EndOf(const grpc::Status& status, const std::stop_token& stop);

// Repeats `attempt` by the rules of retry.h until it is over. Gives the last error when there are
// no tries left, or when the pause before the next one would not end before `deadline`.
absl::Status RunWithRetries(const RetryPolicy& policy, Clock::time_point deadline,
                            const std::stop_token& stop,
                            const std::function<absl::Status()>& attempt);

// Calls `method` of `stub`. `extra` is added to the time that the call may take.
template <typename Stub, typename Request, typename Response>
absl::StatusOr<Response> Call(const Connection& connection, Stub* stub,
                              grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                           Response*),
                              const Request& request, const CallOptions& options,
                              std::chrono::milliseconds extra = std::chrono::milliseconds(0)) {
  const Clock::time_point deadline =
      Clock::now() + options.timeout.value_or(connection.options.timeout + extra);
  Response response;
  const absl::Status status =
      RunWithRetries(options.retry.value_or(connection.options.retry), deadline, options.stop, [&] {
        grpc::ClientContext context;
        SetDeadline(&context, deadline);
        const CancelOnStop cancel(options.stop, &context);
        response.Clear();
        return EndOf((stub->*method)(&context, request, &response), options.stop);
      });
  if (!status.ok()) return status;
  return response;
}

}  // namespace cairn::client::internal

#endif  // CAIRN_CLIENT_INTERNAL_CALL_H_
