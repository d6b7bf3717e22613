#include "cairn/client/errors.h"

#include <grpcpp/support/status.h>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"

namespace cairn::client {
namespace {

constexpr char kErrorInfoUrl[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kRetryInfoUrl[] = "type.googleapis.com/google.rpc.RetryInfo";

template <typename Message>
std::optional<Message> ReadPayload(const absl::Status& status, const char* url) {
  const auto payload = status.GetPayload(url);
  Message message;
  if (!payload.has_value() || !message.ParseFromString(std::string(*payload))) return std::nullopt;
  return message;
}

std::chrono::milliseconds ToMilliseconds(const google::protobuf::Duration& duration) {
  return std::chrono::seconds(duration.seconds()) +
         std::chrono::milliseconds(duration.nanos() / 1'000'000);
}

}  // namespace

std::optional<ErrorDetails> GetErrorDetails(const absl::Status& status) {
  const auto info = ReadPayload<google::rpc::ErrorInfo>(status, kErrorInfoUrl);
  const auto retry = ReadPayload<google::rpc::RetryInfo>(status, kRetryInfoUrl);
  if (!info.has_value() && !retry.has_value()) return std::nullopt;
  ErrorDetails details;
  if (info.has_value()) {
    details.reason = info->reason();
    details.domain = info->domain();
    details.metadata.insert(info->metadata().begin(), info->metadata().end());
  }
  if (retry.has_value()) details.retry_delay = ToMilliseconds(retry->retry_delay());
  return details;
}

std::string GetReason(const absl::Status& status) {
  const auto info = ReadPayload<google::rpc::ErrorInfo>(status, kErrorInfoUrl);
  return info.has_value() ? info->reason() : "";
}

absl::Status StatusFromProto(const google::rpc::Status& proto) {
  // absl maps numbers outside the canonical ones to UNKNOWN.
  absl::Status status(static_cast<absl::StatusCode>(proto.code()), proto.message());
  for (const auto& detail : proto.details())
    status.SetPayload(detail.type_url(), absl::Cord(detail.value()));
  return status;
}

absl::Status StatusFromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  google::rpc::Status proto;
  if (!status.error_details().empty() && proto.ParseFromString(status.error_details())) {
    // The call's own code and message hold; the trailer adds the details.
    proto.set_code(status.error_code());
    proto.set_message(status.error_message());
    return StatusFromProto(proto);
  }
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

absl::Status Annotate(const absl::Status& status, const std::string& context) {
  if (status.ok()) return status;
  absl::Status result(status.code(), absl::StrCat(context, ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& value) { result.SetPayload(url, value); });
  return result;
}

}  // namespace cairn::client
