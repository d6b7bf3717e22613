// One reactor for every unary method: admission, the engine, cancellation and deadline, the answer.
//
//   grpc::ServerUnaryReactor* GetVolume(grpc::CallbackServerContext* context,
//                                       const v1::GetVolumeRequest* request,
//                                       v1::GetVolumeResponse* response) override {
//     return ServeUnary<v1::GetVolumeResponse>(
//         context_, {"VolumeService.GetVolume", CallKind::kRead}, context, request, response,
//         StartGetVolume);
//   }
//
// The start function is called in the reaction and must not block. It returns an error, or OK and
// has called Reply or sees to it that Reply is called later, from any thread. The request is valid
// only while it runs.
#ifndef CAIRN_SERVER_UNARY_H_
#define CAIRN_SERVER_UNARY_H_

#include <grpc/support/time.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "lib/base/mutex.h"
#include "server/service_context.h"
#include "server/status_mapping.h"

namespace cairn {

// Not context.deadline(), which is an instant of the wall clock.
inline MonotonicTime DeadlineOf(const grpc::CallbackServerContext& context) {
  const gpr_timespec deadline = context.raw_deadline();
  if (gpr_time_cmp(deadline, gpr_inf_future(deadline.clock_type)) == 0) {
    return MonotonicTime::InfiniteFuture();
  }
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(deadline.clock_type));
  return MonotonicTime::Now() + absl::Seconds(left.tv_sec) + absl::Nanoseconds(left.tv_nsec);
}

template <typename Response>
class UnaryCall : public Call {
 public:
  UnaryCall(Method method, UnreadAnswers* unread, grpc::CallbackServerContext* context,
            Response* response)
      : Call(method, context->peer(), DeadlineOf(*context)),
        unread_(unread),
        context_(context),
        response_(response) {}

  // Ends the call; nothing happens if it has ended before. `bytes`: of an answer that may be large.
  void Reply(absl::StatusOr<Response> result, int64_t bytes = 0) {
    if (!Claim(result.status())) return;
    bytes_ = bytes;
    if (result.ok()) response_->Swap(&*result);
    Finish(ToGrpcStatus(result.status()));
  }
  // Before a large answer is made: an error when the caller's connection reads too little.
  absl::Status MayAnswer() const { return unread_->MayAnswer(peer()); }

  // What the reaction returns, once. An answer that is there by then goes out by gRPC's own reactor,
  // which costs no hop to another thread as the OnDone of any other does.
  grpc::ServerUnaryReactor* TakeReactor();

 private:
  void SendError(const absl::Status& status) override { Finish(ToGrpcStatus(status)); }

  void Finish(grpc::Status status) {
    unread_->Answered(context_, peer(), bytes_);
    {
      MutexLock lock(&reactor_mutex_);
      if (reactor_ == nullptr) {
        early_ = std::move(status);
        return;
      }
    }
    reactor_->Finish(std::move(status));
  }

  UnreadAnswers* const unread_;
  // gRPC's; gone soon after Finish, which only the winner of Claim calls.
  grpc::CallbackServerContext* const context_;
  Response* const response_;
  int64_t bytes_ = 0;  // of the winner of Claim
  Mutex reactor_mutex_;
  // Written once, before anybody finishes with it.
  grpc::ServerUnaryReactor* reactor_ = nullptr;
  std::optional<grpc::Status> early_ ABSL_GUARDED_BY(reactor_mutex_);
};

// Of a call that is answered later.
template <typename Response>
class UnaryReactor : public grpc::ServerUnaryReactor {
 public:
  explicit UnaryReactor(std::shared_ptr<UnaryCall<Response>> call) : call_(std::move(call)) {}

 private:
  void OnCancel() override { call_->AbortByCaller(); }
  void OnDone() override { delete this; }

  const std::shared_ptr<UnaryCall<Response>> call_;
};

template <typename Response>
grpc::ServerUnaryReactor* UnaryCall<Response>::TakeReactor() {
  MutexLock lock(&reactor_mutex_);
  if (!early_.has_value()) {
    reactor_ = new UnaryReactor<Response>(
        std::static_pointer_cast<UnaryCall<Response>>(this->shared_from_this()));
    return reactor_;
  }
  grpc::ServerUnaryReactor* reactor = context_->DefaultReactor();
  reactor->Finish(*std::move(early_));
  return reactor;
}

template <typename Response, typename Request, typename Start>
grpc::ServerUnaryReactor* ServeUnary(ServiceContext* services, Method method,
                                     grpc::CallbackServerContext* context, const Request* request,
                                     Response* response, Start start) {
  auto call = std::make_shared<UnaryCall<Response>>(method, &services->unread, context, response);
  absl::Status status = services->calls.Add(call);
  if (status.ok()) {
    absl::StatusOr<Engine*> engine = services->RunningEngine();
    status = engine.ok() ? start(*engine, *request, call) : engine.status();
  }
  if (!status.ok()) call->Reply(std::move(status));
  return call->TakeReactor();
}

}  // namespace cairn

#endif  // CAIRN_SERVER_UNARY_H_
