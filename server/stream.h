// Reactors for streams: to the client (WriterCall) and from it (ReaderCall). At most one message is
// in flight; the next one is asked for when it has been handed on, which is the flow control.
//
// A mutex stands between starting a message and ending the call, because gRPC's reactor is gone
// soon after Finish. Callbacks run on gRPC's threads and must not block.
#ifndef CAIRN_SERVER_STREAM_H_
#define CAIRN_SERVER_STREAM_H_

#include <functional>
#include <memory>
#include <utility>

#include "server/unary.h"

namespace cairn {

template <typename Response>
class WriterReactor;

template <typename Response>
class WriterCall : public Call {
 public:
  WriterCall(Method method, UnreadAnswers* unread, grpc::CallbackServerContext* context,
             WriterReactor<Response>* reactor)
      : Call(method, context->peer(), DeadlineOf(*context)),
        unread_(unread),
        context_(context),
        reactor_(reactor) {}

  // Sends a message; `written` is called when the next one may be. One at a time. Neither happens
  // once the call has ended.
  void Write(Response message, std::function<void()> written) {
    MutexLock lock(&reactor_mutex_);
    if (!open()) return;
    AwaitCaller();
    reactor_->Write(std::move(message), std::move(written));
  }
  // Ends the call, after the message in flight if there is one.
  void Finish(const absl::Status& status) {
    if (Claim(status)) SendError(status);
  }

 private:
  void SendError(const absl::Status& status) override {
    MutexLock lock(&reactor_mutex_);
    unread_->Answered(context_, peer(), 0);
    reactor_->Finish(ToGrpcStatus(status));
  }

  UnreadAnswers* const unread_;
  grpc::CallbackServerContext* const context_;  // as long as the reactor
  Mutex reactor_mutex_;
  WriterReactor<Response>* const reactor_;
};

template <typename Response>
class WriterReactor : public grpc::ServerWriteReactor<Response> {
 public:
  WriterReactor(Method method, UnreadAnswers* unread, grpc::CallbackServerContext* context)
      : call_(std::make_shared<WriterCall<Response>>(method, unread, context, this)) {}

  const std::shared_ptr<WriterCall<Response>>& call() const { return call_; }

  void Write(Response message, std::function<void()> written) {
    message_ = std::move(message);
    written_ = std::move(written);
    this->StartWrite(&message_);
  }

 private:
  void OnWriteDone(bool ok) override {
    std::function<void()> written = std::move(written_);
    written_ = nullptr;
    call_->CallerMoved();
    if (ok) written();  // else OnCancel follows
  }
  void OnCancel() override { call_->AbortByCaller(); }
  void OnDone() override { delete this; }

  const std::shared_ptr<WriterCall<Response>> call_;
  Response message_;
  std::function<void()> written_;
};

template <typename Request, typename Response>
class ReaderReactor;

template <typename Request, typename Response>
class ReaderCall : public Call {
 public:
  // The message, or null when the client sends no more.
  using Received = std::function<void(Request*)>;

  ReaderCall(Method method, UnreadAnswers* unread, grpc::CallbackServerContext* context,
             ReaderReactor<Request, Response>* reactor, Response* response)
      : Call(method, context->peer(), DeadlineOf(*context)),
        unread_(unread),
        context_(context),
        reactor_(reactor),
        response_(response) {}

  // Asks for the next message. One at a time. `received` is not called once the call has ended.
  void Read(Received received) {
    MutexLock lock(&reactor_mutex_);
    if (!open()) return;
    AwaitCaller();
    reactor_->Read(std::move(received));
  }
  void Reply(absl::StatusOr<Response> result) {
    if (!Claim(result.status())) return;
    if (result.ok()) response_->Swap(&*result);
    SendError(result.status());
  }

 private:
  void SendError(const absl::Status& status) override {
    MutexLock lock(&reactor_mutex_);
    unread_->Answered(context_, peer(), 0);
    reactor_->Finish(ToGrpcStatus(status));
  }

  UnreadAnswers* const unread_;
  grpc::CallbackServerContext* const context_;  // as long as the reactor
  Mutex reactor_mutex_;
  ReaderReactor<Request, Response>* const reactor_;
  Response* const response_;
};

template <typename Request, typename Response>
class ReaderReactor : public grpc::ServerReadReactor<Request> {
 public:
  ReaderReactor(Method method, UnreadAnswers* unread, grpc::CallbackServerContext* context,
                Response* response)
      : call_(std::make_shared<ReaderCall<Request, Response>>(method, unread, context, this,
                                                              response)) {}

  const std::shared_ptr<ReaderCall<Request, Response>>& call() const { return call_; }

  void Read(std::function<void(Request*)> received) {
    received_ = std::move(received);
    this->StartRead(&message_);
  }

 private:
  void OnReadDone(bool ok) override {
    std::function<void(Request*)> received = std::move(received_);
    received_ = nullptr;
    call_->CallerMoved();
    if (call_->open()) received(ok ? &message_ : nullptr);
  }
  void OnCancel() override { call_->AbortByCaller(); }
  void OnDone() override { delete this; }

  const std::shared_ptr<ReaderCall<Request, Response>> call_;
  Request message_;
  std::function<void(Request*)> received_;
};

// Starts a stream to the client; see ServeUnary.
template <typename Response, typename Request, typename Start>
grpc::ServerWriteReactor<Response>* ServeWriter(ServiceContext* services, Method method,
                                                grpc::CallbackServerContext* context,
                                                const Request* request, Start start) {
  auto* reactor = new WriterReactor<Response>(method, &services->unread, context);
  std::shared_ptr<WriterCall<Response>> call = reactor->call();
  absl::Status status = services->calls.Add(call);
  if (status.ok()) {
    absl::StatusOr<Engine*> engine = services->RunningEngine();
    status = engine.ok() ? start(*engine, *request, call) : engine.status();
  }
  if (!status.ok()) call->Finish(status);
  return reactor;
}

// Starts a stream from the client; see ServeUnary.
template <typename Request, typename Response, typename Start>
grpc::ServerReadReactor<Request>* ServeReader(ServiceContext* services, Method method,
                                              grpc::CallbackServerContext* context,
                                              Response* response, Start start) {
  auto* reactor =
      new ReaderReactor<Request, Response>(method, &services->unread, context, response);
  std::shared_ptr<ReaderCall<Request, Response>> call = reactor->call();
  absl::Status status = services->calls.Add(call);
  if (status.ok()) {
    absl::StatusOr<Engine*> engine = services->RunningEngine();
    status = engine.ok() ? start(*engine, call) : engine.status();
  }
  if (!status.ok()) call->Reply(std::move(status));
  return reactor;
}

}  // namespace cairn

#endif  // CAIRN_SERVER_STREAM_H_
