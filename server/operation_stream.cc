#include "server/operation_stream.h"

#include <utility>

#include "lib/base/id.h"
#include "server/change.h"

namespace cairn {
namespace {

class OperationStream : public std::enable_shared_from_this<OperationStream> {
 public:
  using StreamCall = WriterCall<v1::WatchOperationResponse>;

  OperationStream(Engine* engine, std::shared_ptr<StreamCall> call)
      : engine_(engine), call_(std::move(call)) {}

  void Start(const std::string& id) {
    auto self = shared_from_this();
    Engine::Subscription watching = engine_->Watch(
        id, [self](const absl::StatusOr<OperationPtr>& operation) { self->Changed(operation); });
    call_->OnAbandoned([engine = engine_, watching] { engine->StopWaiting(watching); });
  }

 private:
  void Changed(const absl::StatusOr<OperationPtr>& operation) {
    if (!operation.ok()) return call_->Finish(operation.status());
    {
      MutexLock lock(&mutex_);
      latest_ = *operation;
      if (writing_) return;
      writing_ = true;
    }
    WriteLatest();
  }

  void WriteLatest() {
    OperationPtr operation;
    {
      MutexLock lock(&mutex_);
      operation = std::exchange(latest_, nullptr);
    }
    v1::WatchOperationResponse response;
    *response.mutable_operation() = ToProto(*operation, *engine_);
    call_->Write(std::move(response), [self = shared_from_this(), ended = Ended(operation->state)] {
      self->Written(ended);
    });
  }

  void Written(bool ended) {
    if (ended) return call_->Finish(absl::OkStatus());
    {
      MutexLock lock(&mutex_);
      writing_ = latest_ != nullptr;
      if (!writing_) return;
    }
    WriteLatest();
  }

  Engine* const engine_;
  const std::shared_ptr<StreamCall> call_;
  Mutex mutex_;
  OperationPtr latest_ ABSL_GUARDED_BY(mutex_);  // not yet written
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

absl::Status StartOperationStream(
    Engine* engine, const v1::WatchOperationRequest& request,
    const std::shared_ptr<WriterCall<v1::WatchOperationResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(std::string id, ParseId("operation_id", request.operation_id()));
  std::make_shared<OperationStream>(engine, call)->Start(id);
  return absl::OkStatus();
}

}  // namespace cairn
