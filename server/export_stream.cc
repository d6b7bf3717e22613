#include "server/export_stream.h"

#include <utility>

#include "server/change.h"
#include "server/session_holder.h"

namespace cairn {
namespace {

class ExportStream : public std::enable_shared_from_this<ExportStream> {
 public:
  using StreamCall = WriterCall<v1::ExportVolumeResponse>;

  ExportStream(Engine* engine, Background* background, ExportRequest request,
               std::shared_ptr<StreamCall> call)
      : engine_(engine),
        request_(std::move(request)),
        call_(std::move(call)),
        session_(background) {}

  void Start() {
    auto self = shared_from_this();
    request_.cancel = cancel_.token();
    call_->OnAbandoned([self] {
      self->cancel_.Cancel();
      self->session_.Drop();
    });
    engine_->StartExport(request_, [self](absl::StatusOr<std::unique_ptr<ExportSession>> session) {
      if (!session.ok()) return self->End(session.status());
      self->session_.Set(*std::move(session));
      self->WriteHeader();
    });
  }

 private:
  void End(const absl::Status& status) {
    session_.Drop();
    call_->Finish(status);
  }

  void WriteHeader() {
    // The session keeps the source as it is, so its record tells the size of what will come.
    int64_t size = 0;
    if (VolumePtr volume = engine_->records().FindVolume(request_.volume_id)) {
      size = volume->size_bytes;
    } else if (SnapshotPtr snapshot = engine_->records().FindSnapshot(request_.snapshot_id)) {
      size = snapshot->size_bytes;
    }
    v1::ExportVolumeResponse response;
    response.mutable_header()->set_size_bytes(size);
    response.mutable_header()->set_offset(request_.offset);
    response.mutable_header()->set_length(request_.length > 0 ? request_.length
                                                              : size - request_.offset);
    call_->Write(std::move(response), [self = shared_from_this()] { self->ReadNext(); });
  }

  void ReadNext() {
    std::shared_ptr<ExportSession> session = session_.Get();
    if (session == nullptr) return;
    session->Next([self = shared_from_this()](absl::StatusOr<ExportSession::Piece> piece) {
      if (!piece.ok()) return self->End(piece.status());
      self->WritePiece(*std::move(piece));
    });
  }

  void WritePiece(ExportSession::Piece piece) {
    v1::ExportVolumeResponse response;
    auto self = shared_from_this();
    if (!piece.last) {
      *response.mutable_chunk() = ToProto(std::move(piece.chunk));
      call_->Write(std::move(response), [self] { self->ReadNext(); });
      return;
    }
    response.mutable_trailer()->set_total_bytes(piece.total.bytes);
    response.mutable_trailer()->set_crc32c(piece.total.crc32c);
    call_->Note("bytes", std::to_string(piece.total.bytes));
    call_->Write(std::move(response), [self] { self->End(absl::OkStatus()); });
  }

  Engine* const engine_;
  ExportRequest request_;
  CancelSource cancel_;
  const std::shared_ptr<StreamCall> call_;
  SessionHolder<ExportSession> session_;
};

}  // namespace

absl::Status StartExportStream(Engine* engine, Background* background,
                               const v1::ExportVolumeRequest& request,
                               const std::shared_ptr<WriterCall<v1::ExportVolumeResponse>>& call) {
  NoteTargets(request, call.get());
  ASSIGN_OR_RETURN(ExportRequest core, FromProto(request));
  core.requested_by = call->peer();
  std::make_shared<ExportStream>(engine, background, std::move(core), call)->Start();
  return absl::OkStatus();
}

}  // namespace cairn
