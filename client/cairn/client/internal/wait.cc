#include "cairn/client/internal/wait.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/internal/outage.h"

namespace cairn::client::internal {
namespace {

// Without a limit of the caller's own: longer than any operation lasts.
constexpr std::chrono::hours kNoLimit(24 * 365);
// One WaitOperation asks for this long, so that a dead connection is noticed in the end.
constexpr std::chrono::seconds kPollTime(30);
constexpr int kStreamFailuresMax = 3;

class Waiter {
 public:
  Waiter(const Connection& connection, const std::string& id, const WaitOptions& options)
      : connection_(connection),
        id_(id),
        options_(options),
        deadline_(Clock::now() + options.timeout.value_or(kNoLimit)),
        outage_(connection.options.retry) {}

  absl::StatusOr<v1::Operation> Run() {
    bool streams_known = true;
    while (true) {
      // After some streams that brought nothing, something on the way may not let streams through:
      // the next try is a plain call, and after it streams have their chance again.
      const bool stream = streams_known && outage_.failures() < kStreamFailuresMax;
      absl::Status status = stream ? Follow() : Poll();
      if (ended_.has_value()) return *std::move(ended_);
      if (options_.stop.stop_requested()) {
        return absl::CancelledError(absl::StrCat("stopped waiting; operation ", id_, " goes on"));
      }
      if (TimeLeft(deadline_).count() == 0) {
        return absl::DeadlineExceededError(
            absl::StrCat("operation ", id_, " has not ended in the time given; it goes on"));
      }
      if (status.ok()) continue;
      if (stream && status.code() == absl::StatusCode::kUnimplemented) {
        streams_known = false;
        continue;
      }
      status = outage_.Pause(status, deadline_, options_.stop);
      if (!status.ok()) return Annotate(status, absl::StrCat("waiting for operation ", id_));
    }
  }

 private:
  void Report(v1::Operation operation) {
    outage_.Over();
    if (options_.on_progress) options_.on_progress(operation);
    if (HasEnded(operation)) ended_ = std::move(operation);
  }

  // One stream, from its beginning to its end.
  absl::Status Follow() {
    grpc::ClientContext context;
    SetDeadline(&context, deadline_);
    const CancelOnStop cancel(options_.stop, &context);
    v1::WatchOperationRequest request;
    request.set_operation_id(id_);
    const auto stream = connection_.operations->WatchOperation(&context, request);
    v1::WatchOperationResponse response;
    while (stream->Read(&response)) Report(std::move(*response.mutable_operation()));
    const absl::Status status = EndOf(stream->Finish(), options_.stop);
    // A stream that ends well before the operation does was cut off by somebody in between.
    if (status.ok() && !ended_.has_value()) return absl::UnavailableError("the stream was cut off");
    return status;
  }

  // One WaitOperation, which ends at the latest after kPollTime.
  absl::Status Poll() {
    const auto time = std::min<std::chrono::milliseconds>(kPollTime, TimeLeft(deadline_));
    grpc::ClientContext context;
    SetDeadline(&context, Clock::now() + time + connection_.options.timeout);
    const CancelOnStop cancel(options_.stop, &context);
    v1::WaitOperationRequest request;
    request.set_operation_id(id_);
    *request.mutable_timeout() = ToProtoDuration(time);
    v1::WaitOperationResponse response;
    const absl::Status status =
        EndOf(connection_.operations->WaitOperation(&context, request, &response), options_.stop);
    if (status.ok()) Report(std::move(*response.mutable_operation()));
    return status;
  }

  const Connection& connection_;
  const std::string& id_;
  const WaitOptions& options_;
  const Clock::time_point deadline_;
  Outage outage_;
  std::optional<v1::Operation> ended_;
};

}  // namespace

absl::StatusOr<v1::Operation> WaitForEnd(const Connection& connection, const std::string& id,
                                         const WaitOptions& options) {
  return Waiter(connection, id, options).Run();
}

}  // namespace cairn::client::internal
