#include "server/change.h"

#include <algorithm>

namespace cairn {
namespace {

// The reply needs some time to reach the caller before its deadline.
MonotonicTime LatestReply(MonotonicTime now, MonotonicTime deadline) {
  if (deadline == MonotonicTime::InfiniteFuture()) return deadline;
  return deadline - std::min(absl::Milliseconds(250), (deadline - now) / 10);
}

}  // namespace

void WaitUntil(Engine* engine, const std::string& operation_id, MonotonicTime until,
               const std::shared_ptr<Call>& call, OperationCallback reply) {
  Engine::Subscription waiting = engine->Wait(operation_id, until, std::move(reply));
  if (waiting == 0) return;
  call->OnAbandoned([engine, waiting] { engine->StopWaiting(waiting); });
}

void HoldFor(Engine* engine, const OperationPtr& operation, absl::Duration wait,
             const std::shared_ptr<Call>& call, OperationCallback reply) {
  if (operation == nullptr) return reply(operation);
  call->Note("op", operation->id);
  call->Note("volume", operation->volume_id);
  const MonotonicTime now = MonotonicTime::Now();
  const MonotonicTime until = std::min(now + wait, LatestReply(now, call->deadline()));
  if (Ended(operation->state) || until <= now) return reply(operation);
  // The caller can wait for the operation by itself, once there are fewer.
  if (!call->AllowHold(until - now)) return reply(operation);
  WaitUntil(engine, operation->id, until, call, std::move(reply));
}

void SubmitAndHold(Engine* engine, Request request, Caller caller, absl::Duration wait,
                   const std::shared_ptr<Call>& call, OperationCallback reply) {
  engine->Submit(std::move(request), std::move(caller),
                 [engine, wait, call,
                  reply = std::move(reply)](const absl::StatusOr<OperationPtr>& operation) {
                   // Nobody waits any more; the operation goes on.
                   if (!call->open()) return;
                   if (!operation.ok()) return reply(operation);
                   HoldFor(engine, *operation, wait, call, reply);
                 });
}

}  // namespace cairn
