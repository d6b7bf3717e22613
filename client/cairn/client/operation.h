// A change that the server has recorded, and waiting for its end.
//
//   auto pending = client.CreateVolume(request);
//   if (!pending.ok()) return pending.status();  // refused: nothing has happened
//   auto done = pending->Wait({.on_progress = [](const v1::Operation& now) { Show(now); }});
//   if (!done.ok()) return done.status();  // could not be done: nothing has changed
//   Use(done->volume());
//
// The operation does not depend on this object, its connection or its process: drop the object and
// the operation goes on. Its id is enough to take it up again, with Client::GetPendingOperation.
//
// Threads: immutable; any thread may call any method, several may wait at the same time.
#ifndef CAIRN_CLIENT_OPERATION_H_
#define CAIRN_CLIENT_OPERATION_H_

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "cairn/client/options.h"
#include "cairn/v1/operation.pb.h"

namespace cairn::client {

namespace internal {
struct Connection;
}

struct WaitOptions {
  // Called with the operation as it is now: at once, at each change of its state, and with its
  // progress up to five times a second; last with the operation as it has ended. Called on the
  // thread that waits, which it holds up. It may use the client, to answer a WAITING_FOR_CONSUMER
  // operation say.
  std::function<void(const v1::Operation&)> on_progress{};
  // How long to wait. Unset: as long as it takes.
  std::optional<std::chrono::milliseconds> timeout{};
  // Ends the waiting with CANCELLED. The operation goes on; cancel it with Cancel().
  std::stop_token stop{};
};

// Whether it has ended: SUCCEEDED, FAILED, CANCELLED or ABANDONED.
bool HasEnded(const v1::Operation& operation);

// An operation that has ended as what it amounts to: SUCCEEDED is itself, anything else its error.
absl::StatusOr<v1::Operation> ToResult(const v1::Operation& operation);

class PendingOperation {
 public:
  PendingOperation(std::shared_ptr<const internal::Connection> connection, v1::Operation operation);

  // Empty for a request with `validate_only`, which makes no operation.
  const std::string& id() const { return operation_.id(); }

  // The operation as it was in the server's answer. Most have ended by then.
  const v1::Operation& operation() const { return operation_; }

  // Waits for the end. Gives the operation that has SUCCEEDED, with its result, or the error with
  // which it has FAILED or was CANCELLED, with its reason. Connections that break are made again
  // and servers that restart are waited for, up to RetryPolicy::max_outage. With `validate_only`
  // there is nothing to wait for: an empty operation.
  //
  // Errors of the waiting itself, after which the operation goes on: DEADLINE_EXCEEDED (timeout),
  // CANCELLED (stop), UNAVAILABLE (the server is not to be reached), NOT_FOUND (forgotten; it ended
  // longer ago than operations are kept).
  absl::StatusOr<v1::Operation> Wait(const WaitOptions& options = {}) const;

  // The same on a thread of its own; on_progress is called on that thread. The future's destructor
  // waits for the thread: request `options.stop` first to be rid of it early.
  std::future<absl::StatusOr<v1::Operation>> WaitAsync(WaitOptions options = {}) const;

  // Asks for it to be given up and gives it as it is then: CANCELLED, still CANCELLING, or ended
  // otherwise because it was done before. FAILED_PRECONDITION, OPERATION_NOT_CANCELLABLE past the
  // point from which it can only be finished.
  absl::StatusOr<v1::Operation> Cancel(const CallOptions& options = {}) const;

 private:
  std::shared_ptr<const internal::Connection> connection_;
  v1::Operation operation_;
};

}  // namespace cairn::client

#endif  // CAIRN_CLIENT_OPERATION_H_
