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

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "server/service_context.h"
#include "server/status_mapping.h"

namespace cairn {

inline absl::Time DeadlineOf(const grpc::CallbackServerContext& context) {
  auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max() ? absl::InfiniteFuture()
                                                                  : absl::FromChrono(deadline);
}

template <typename Response>
class UnaryCall : public Call {
 public:
  UnaryCall(Method method, const grpc::CallbackServerContext& context,
            grpc::ServerUnaryReactor* reactor, Response* response)
      : Call(method, context.peer(), DeadlineOf(context)), reactor_(reactor), response_(response) {}

  // Ends the call; nothing happens if it has ended before.
  void Reply(absl::StatusOr<Response> result) {
    if (!Claim(result.status())) return;
    if (result.ok()) response_->Swap(&*result);
    reactor_->Finish(ToGrpcStatus(result.status()));
  }

 private:
  void SendError(const absl::Status& status) override { reactor_->Finish(ToGrpcStatus(status)); }

  // gRPC's; gone soon after Finish, which only the winner of Claim calls.
  grpc::ServerUnaryReactor* const reactor_;
  Response* const response_;
};

template <typename Response>
class UnaryReactor : public grpc::ServerUnaryReactor {
 public:
  UnaryReactor(CallTable* calls, Method method, const grpc::CallbackServerContext& context,
               Response* response)
      : calls_(calls),
        call_(std::make_shared<UnaryCall<Response>>(method, context, this, response)) {}

  const std::shared_ptr<UnaryCall<Response>>& call() const { return call_; }

 private:
  void OnCancel() override { call_->AbortByCaller(); }
  void OnDone() override {
    calls_->Remove(call_.get());
    delete this;
  }

  CallTable* const calls_;
  const std::shared_ptr<UnaryCall<Response>> call_;
};

template <typename Response, typename Request, typename Start>
grpc::ServerUnaryReactor* ServeUnary(ServiceContext* services, Method method,
                                     grpc::CallbackServerContext* context, const Request* request,
                                     Response* response, Start start) {
  auto* reactor = new UnaryReactor<Response>(&services->calls, method, *context, response);
  std::shared_ptr<UnaryCall<Response>> call = reactor->call();
  absl::Status status = services->calls.Add(call);
  if (status.ok()) {
    absl::StatusOr<Engine*> engine = services->RunningEngine();
    status = engine.ok() ? start(*engine, *request, call) : engine.status();
  }
  if (!status.ok()) call->Reply(std::move(status));
  return reactor;
}

}  // namespace cairn

#endif  // CAIRN_SERVER_UNARY_H_
