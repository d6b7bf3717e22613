#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "cairn/client/client.h"
#include "cairn/client/crc32c.h"
#include "cairn/client/internal/call.h"
#include "cairn/client/internal/connection.h"
#include "cairn/client/internal/outage.h"

namespace cairn::client {
namespace {

using internal::Connection;

constexpr int64_t kSectorBytes = 512;

int64_t LengthOf(const v1::ContentChunk& chunk) {
  return chunk.content_case() == v1::ContentChunk::kData ? static_cast<int64_t>(chunk.data().size())
                                                         : chunk.zero_length();
}

uint32_t ExtendBy(uint32_t crc, const v1::ContentChunk& chunk, int64_t skip) {
  if (chunk.content_case() != v1::ContentChunk::kData)
    return ExtendCrc32cByZeros(crc, chunk.zero_length() - skip);
  return ExtendCrc32c(crc, std::string_view(chunk.data()).substr(static_cast<size_t>(skip)));
}

// One download: the state that outlives a broken stream.
class Download {
 public:
  Download(const Connection& connection, const v1::ExportVolumeRequest& request, ContentSink* sink,
           const TransferOptions& options)
      : connection_(connection),
        request_(request),
        sink_(sink),
        options_(options),
        outage_(connection.options.retry) {}

  absl::StatusOr<TransferSummary> Run() {
    summary_.offset = request_.offset();
    next_offset_ = request_.offset();
    if (absl::Status status = RememberVersion(); !status.ok()) return status;
    while (true) {
      const absl::Status status = OneStream();
      if (complete_) return summary_;
      if (options_.stop.stop_requested()) return absl::CancelledError("the download was given up");
      // What the sink or a checksum said is final; only what the stream said may pass.
      if (local_error_) return status;
      const absl::Status pause =
          outage_.Pause(status, internal::Clock::time_point::max(), options_.stop);
      if (!pause.ok()) return pause;
      if (begun_) ++summary_.resumptions;
    }
  }

 private:
  struct Version {
    int64_t revision = 0;
    bool attached = false;
    bool operator==(const Version&) const = default;
  };

  absl::Status Local(absl::Status status) {
    if (!status.ok()) local_error_ = true;
    return status;
  }

  // What tells whether a volume still has the same content.
  absl::StatusOr<Version> GetVersion() const {
    v1::GetVolumeRequest request;
    request.set_volume_id(request_.volume_id());
    const auto response = internal::Call(connection_, connection_.volumes.get(),
                                         &v1::VolumeService::StubInterface::GetVolume, request,
                                         {.stop = options_.stop});
    if (!response.ok()) return response.status();
    return Version{response->volume().revision(), response->volume().attachments_size() > 0};
  }

  absl::Status RememberVersion() {
    if (request_.source_case() != v1::ExportVolumeRequest::kVolumeId) return absl::OkStatus();
    auto version = GetVersion();
    if (!version.ok()) return version.status();
    version_ = *version;
    return absl::OkStatus();
  }

  // After the header of a further stream: the volume is held still from here on, so if it is the
  // same now it was the same all the time.
  absl::Status CheckVersion() {
    if (!version_.has_value()) return absl::OkStatus();
    const auto version = GetVersion();
    if (!version.ok()) return version.status();
    if (!version_->attached && *version == *version_) return absl::OkStatus();
    return Local(
        absl::AbortedError("the download broke off, and the volume may have changed since; take a "
                           "snapshot and download "
                           "that"));
  }

  absl::Status OneStream() {
    grpc::ClientContext context;
    const internal::CancelOnStop cancel(options_.stop, &context);
    v1::ExportVolumeRequest request = request_;
    const int64_t begin = begun_ ? next_offset_ / kSectorBytes * kSectorBytes : next_offset_;
    if (begun_) {
      if (begin == end_offset_) return Complete();
      request.set_offset(begin);
      request.set_length(end_offset_ - begin);
    }
    const auto stream = connection_.volumes->ExportVolume(&context, request);
    stream_offset_ = begin;
    stream_crc_ = 0;
    v1::ExportVolumeResponse response;
    absl::Status status;
    bool first = true;
    while (status.ok() && stream->Read(&response)) {
      status = first ? OnHeader(response) : OnPart(response);
      first = false;
      if (status.ok() && response.has_chunk()) outage_.Over();
    }
    if (!status.ok()) context.TryCancel();
    const absl::Status finished = internal::EndOf(stream->Finish(), options_.stop);
    if (!status.ok() || complete_) return status;
    // Ended well, but without a trailer: cut off by somebody in between.
    return finished.ok() ? absl::UnavailableError("the stream was cut off") : finished;
  }

  absl::Status OnHeader(const v1::ExportVolumeResponse& response) {
    if (!response.has_header())
      return Local(absl::InternalError("the download does not begin with a header"));
    if (begun_) return CheckVersion();
    begun_ = true;
    const v1::ExportHeader& header = response.header();
    end_offset_ = header.offset() + header.length();
    summary_.size_bytes = header.size_bytes();
    summary_.length_bytes = header.length();
    return Local(sink_->Begin(header.size_bytes(), header.offset(), header.length()));
  }

  absl::Status OnPart(const v1::ExportVolumeResponse& response) {
    if (response.has_chunk()) return Local(OnChunk(response.chunk()));
    if (response.has_trailer()) return Local(OnTrailer(response.trailer()));
    return Local(absl::InternalError("the download holds a second header"));
  }

  absl::Status OnChunk(const v1::ContentChunk& chunk) {
    const int64_t length = LengthOf(chunk);
    if (chunk.offset() != stream_offset_ || length <= 0 || chunk.offset() + length > end_offset_) {
      return absl::DataLossError(absl::StrCat("a piece at ", chunk.offset(), " came where one at ",
                                              stream_offset_, " was due"));
    }
    if (ExtendBy(0, chunk, 0) != chunk.crc32c()) {
      return absl::DataLossError(
          absl::StrCat("the piece at ", chunk.offset(), " does not fit its checksum"));
    }
    stream_offset_ += length;
    stream_crc_ = ExtendBy(stream_crc_, chunk, 0);
    // A stream is taken up at a sector's boundary: what came before the break is not written twice.
    const int64_t skip = next_offset_ - chunk.offset();
    if (skip >= length) return absl::OkStatus();
    summary_.crc32c = ExtendBy(summary_.crc32c, chunk, skip);
    absl::Status status =
        chunk.content_case() == v1::ContentChunk::kData
            ? sink_->WriteData(next_offset_, std::string_view(chunk.data()).substr(skip))
            : sink_->WriteZeros(next_offset_, length - skip);
    if (!status.ok()) return status;
    next_offset_ = stream_offset_;
    if (options_.on_progress)
      options_.on_progress({next_offset_ - request_.offset(), summary_.length_bytes});
    return absl::OkStatus();
  }

  absl::Status OnTrailer(const v1::ContentTrailer& trailer) {
    if (next_offset_ != end_offset_)
      return absl::DataLossError(
          absl::StrCat("the download ended at ", next_offset_, " of ", end_offset_));
    if (trailer.crc32c() != stream_crc_)
      return absl::DataLossError("the content does not fit its checksum");
    return Complete();
  }

  absl::Status Complete() {
    complete_ = true;
    return absl::OkStatus();
  }

  const Connection& connection_;
  const v1::ExportVolumeRequest& request_;
  ContentSink* const sink_;
  const TransferOptions& options_;
  internal::Outage outage_;
  std::optional<Version> version_;
  TransferSummary summary_;
  int64_t next_offset_ = 0;    // what the sink gets next
  int64_t end_offset_ = 0;     // where the content ends
  int64_t stream_offset_ = 0;  // what this stream sends next
  uint32_t stream_crc_ = 0;
  bool begun_ = false;
  bool complete_ = false;
  bool local_error_ = false;
};

}  // namespace

absl::StatusOr<TransferSummary> Client::ExportVolume(const v1::ExportVolumeRequest& request,
                                                     ContentSink* sink,
                                                     const TransferOptions& options) const {
  return Download(*connection_, request, sink, options).Run();
}

}  // namespace cairn::client
