#include "server/import_stream.h"

#include <utility>

#include "server/change.h"
#include "server/session_holder.h"

namespace cairn {
namespace {

class ImportStream : public std::enable_shared_from_this<ImportStream> {
 public:
  using StreamCall = ReaderCall<v1::ImportVolumeRequest, v1::ImportVolumeResponse>;

  ImportStream(Engine* engine, Background* background, std::shared_ptr<StreamCall> call)
      : engine_(engine), call_(std::move(call)), session_(background) {}

  void Start() {
    auto self = shared_from_this();
    call_->OnAbandoned([self] { self->session_.Drop(); });
    call_->Read([self](v1::ImportVolumeRequest* message) {
      if (message == nullptr || !message->has_header()) {
        return self->Fail(InvalidField("header", "the first message must be the header"));
      }
      absl::Status status = self->TakeHeader(message->header());
      if (!status.ok()) self->Fail(NameWireField(status, "header."));
    });
  }

 private:
  void Fail(const absl::Status& status) {
    session_.Drop();
    call_->Reply(status);
  }

  absl::Status TakeHeader(const v1::ImportHeader& header) {
    NoteTargets(header, call_.get());
    ASSIGN_OR_RETURN(ImportVolumeRequest request, FromProto(header));
    ASSIGN_OR_RETURN(wait_, WaitFrom(header.has_wait(), header.wait()));
    engine_->StartImport(
        std::move(request), CallerOf(header, *call_),
        [self = shared_from_this()](absl::StatusOr<std::unique_ptr<ImportSession>> session) {
          self->Started(std::move(session));
        });
    return absl::OkStatus();
  }

  void Started(absl::StatusOr<std::unique_ptr<ImportSession>> session) {
    if (!session.ok()) return call_->Reply(NameWireField(session.status(), "header."));
    if (*session == nullptr) return call_->Reply(v1::ImportVolumeResponse());  // validate_only
    call_->Note("op", (*session)->operation_id());
    absl::StatusOr<OperationPtr> operation = engine_->GetOperation((*session)->operation_id());
    session_.Set(*std::move(session));
    // The upload has been made before.
    if (operation.ok() && Ended((*operation)->state)) return Answer(operation);
    ReadNext();
  }

  void Answer(const absl::StatusOr<OperationPtr>& operation) {
    session_.Drop();
    call_->Reply(OperationResponse<v1::ImportVolumeResponse>(*engine_, operation));
  }

  void ReadNext() {
    call_->Read([self = shared_from_this()](v1::ImportVolumeRequest* message) {
      absl::Status status = self->TakePart(message);
      if (!status.ok()) self->Fail(status);
    });
  }

  absl::Status TakePart(v1::ImportVolumeRequest* message) {
    if (message == nullptr) {
      return InvalidField("trailer", "the stream ended without its trailer");
    }
    std::shared_ptr<ImportSession> session = session_.Get();
    if (session == nullptr) return absl::OkStatus();  // the call is over
    auto self = shared_from_this();
    if (message->has_trailer()) {
      ContentTotal total{message->trailer().total_bytes(), message->trailer().crc32c()};
      session->Finish(total, [self](const absl::StatusOr<OperationPtr>& operation) {
        self->Finished(operation);
      });
      return absl::OkStatus();
    }
    if (!message->has_chunk()) {
      return InvalidField("part", "after the header there must be chunks, then the trailer");
    }
    ASSIGN_OR_RETURN(ContentChunk chunk, TakeChunk(message->mutable_chunk()));
    session->Write(std::move(chunk), [self](const absl::Status& status) {
      if (!status.ok()) return self->Fail(status);
      self->ReadNext();
    });
    return absl::OkStatus();
  }

  void Finished(const absl::StatusOr<OperationPtr>& operation) {
    session_.Drop();
    if (!operation.ok()) return call_->Reply(operation.status());
    if (!call_->open()) return;
    HoldFor(engine_, *operation, wait_, call_,
            [self = shared_from_this()](const absl::StatusOr<OperationPtr>& answer) {
              self->Answer(answer);
            });
  }

  Engine* const engine_;
  const std::shared_ptr<StreamCall> call_;
  SessionHolder<ImportSession> session_;
  absl::Duration wait_ = absl::ZeroDuration();
};

}  // namespace

absl::Status StartImportStream(
    Engine* engine, Background* background,
    const std::shared_ptr<ReaderCall<v1::ImportVolumeRequest, v1::ImportVolumeResponse>>& call) {
  std::make_shared<ImportStream>(engine, background, call)->Start();
  return absl::OkStatus();
}

}  // namespace cairn
