#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cairn/client/client.h"
#include "cairn/client/crc32c.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/internal/outage.h"

namespace cairn::client {
namespace {

using internal::ConnectionPtr;
using Writer = grpc::ClientWriterInterface<v1::ImportVolumeRequest>;

constexpr size_t kRequestIdMax = 128;

// The end of an upload that was cut off on the way or by a stop of the server: a new one may do
// better.
bool WasInterrupted(const v1::Operation& operation) {
  if (operation.state() == v1::OPERATION_STATE_CANCELLED) return true;
  const absl::Status error = StatusFromProto(operation.error());
  return error.code() == absl::StatusCode::kAborted ||
         error.code() == absl::StatusCode::kUnavailable;
}

class Upload {
 public:
  Upload(ConnectionPtr connection, v1::ImportHeader header, ContentSource* source,
         const TransferOptions& options)
      : connection_(std::move(connection)),
        header_(std::move(header)),
        source_(source),
        options_(options),
        outage_(connection_->options.retry) {
    if (header_.request_id().empty()) header_.set_request_id(NewUuid());
    first_request_id_ = header_.request_id();
  }

  absl::StatusOr<PendingOperation> Run() {
    while (true) {
      const absl::Status status = OneStream();
      if (local_error_) return status;
      if (status.ok()) {
        auto operation = AfterBreak();
        if (!operation.ok()) return operation.status();
        if (operation->has_value()) return PendingOperation(connection_, **std::move(operation));
        continue;
      }
      if (options_.stop.stop_requested()) return absl::CancelledError("the upload was given up");
      // The broken upload was undone meanwhile, and this request_id stands for it: it is used up.
      const bool used_up =
          GetReason(status) == "INTERRUPTED" || (broken_ && absl::IsCancelled(status));
      const absl::Status passing = used_up ? absl::UnavailableError(status.message()) : status;
      const absl::Status pause =
          outage_.Pause(passing, internal::Clock::time_point::max(), options_.stop);
      if (!pause.ok()) return absl::IsCancelled(pause) ? pause : status;
      if (absl::Status rewound = source_->Rewind(); !rewound.ok()) return status;
      if (used_up) UseNextRequestId();
      broken_ = !used_up;
    }
  }

 private:
  // Sends the whole once. OK: the server has answered, with answer_.
  absl::Status OneStream() {
    grpc::ClientContext context;
    const internal::CancelOnStop cancel(options_.stop, &context);
    v1::ImportVolumeResponse response;
    const auto writer = connection_->volumes->ImportVolume(&context, &response);
    absl::Status status;
    if (SendHeader(writer.get())) {
      status = header_.validate_only() ? absl::OkStatus() : SendContent(writer.get());
    }
    if (!status.ok()) {
      local_error_ = true;
      context.TryCancel();
    }
    const absl::Status finished = internal::EndOf(writer->Finish(), options_.stop);
    if (!status.ok()) return status;
    if (finished.ok()) answer_ = std::move(*response.mutable_operation());
    return finished;
  }

  bool SendHeader(Writer* writer) {
    v1::ImportVolumeRequest message;
    *message.mutable_header() = header_;
    return writer->Write(message);
  }

  // The pieces and the trailer. OK also when the server ends the stream early: Finish tells why.
  // Errors are the source's.
  absl::Status SendContent(Writer* writer) {
    v1::ImportVolumeRequest message;
    int64_t offset = 0;
    uint32_t crc = 0;
    while (true) {
      auto piece = source_->Next();
      if (!piece.ok()) return piece.status();
      const bool is_data = !piece->data.empty();
      const int64_t length =
          is_data ? static_cast<int64_t>(piece->data.size()) : piece->zero_length;
      if (length == 0) break;
      v1::ContentChunk* chunk = message.mutable_chunk();
      chunk->set_offset(offset);
      chunk->set_crc32c(is_data ? ExtendCrc32c(0, piece->data) : ExtendCrc32cByZeros(0, length));
      crc = is_data ? ExtendCrc32c(crc, piece->data) : ExtendCrc32cByZeros(crc, length);
      if (is_data) {
        chunk->set_data(std::move(piece->data));
      } else {
        chunk->set_zero_length(length);
      }
      if (!writer->Write(message)) return absl::OkStatus();
      offset += length;
      // Getting further than ever before is a success; what is only repeated is none.
      if (offset > sent_max_) outage_.Over();
      sent_max_ = std::max(sent_max_, offset);
      if (options_.on_progress) options_.on_progress({offset, source_->size_bytes()});
    }
    message.mutable_trailer()->set_total_bytes(offset);
    message.mutable_trailer()->set_crc32c(crc);
    if (writer->Write(message)) writer->WritesDone();
    return absl::OkStatus();
  }

  // The answer to give to the caller; nothing: send it again. An answer after a break may be the
  // end of the broken upload: interrupted, that only says that its request_id is used up.
  absl::StatusOr<std::optional<v1::Operation>> AfterBreak() {
    if (!broken_ || answer_.id().empty()) return std::make_optional(std::move(answer_));
    if (!HasEnded(answer_)) {
      // Possibly still the broken one, being undone; what it ends as decides.
      const PendingOperation pending(connection_, answer_);
      auto ended = WaitForAnyEnd(pending);
      if (!ended.ok()) return ended.status();
      answer_ = *std::move(ended);
    }
    if (answer_.state() == v1::OPERATION_STATE_SUCCEEDED || !WasInterrupted(answer_))
      return std::make_optional(std::move(answer_));
    broken_ = false;
    if (absl::Status rewound = source_->Rewind(); !rewound.ok())
      return std::make_optional(std::move(answer_));
    UseNextRequestId();
    return std::optional<v1::Operation>();
  }

  // Unlike Wait, gives a failed operation as such.
  absl::StatusOr<v1::Operation> WaitForAnyEnd(const PendingOperation& pending) const {
    std::optional<v1::Operation> last;
    WaitOptions wait;
    wait.stop = options_.stop;
    wait.on_progress = [&](const v1::Operation& now) { last = now; };
    auto ended = pending.Wait(wait);
    if (ended.ok() || !last.has_value() || !HasEnded(*last)) return ended;
    return *std::move(last);
  }

  void UseNextRequestId() {
    std::string next = absl::StrCat(first_request_id_, "/", ++uploads_);
    header_.set_request_id(next.size() <= kRequestIdMax ? std::move(next) : NewUuid());
  }

  const ConnectionPtr connection_;
  v1::ImportHeader header_;
  ContentSource* const source_;
  const TransferOptions& options_;
  internal::Outage outage_;
  std::string first_request_id_;
  int uploads_ = 1;
  int64_t sent_max_ = 0;
  v1::Operation answer_;
  bool broken_ =
      false;  // a stream with this request_id broke, and the server may have had all of it
  bool local_error_ = false;
};

}  // namespace

absl::StatusOr<PendingOperation> Client::ImportVolume(v1::ImportHeader header,
                                                      ContentSource* source,
                                                      const TransferOptions& options) const {
  return Upload(connection_, std::move(header), source, options).Run();
}

}  // namespace cairn::client
