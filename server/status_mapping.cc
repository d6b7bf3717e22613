#include "server/status_mapping.h"

#include <optional>

#include "google/rpc/error_details.pb.h"
#include "lib/base/status.h"
#include "lib/base/strings.h"
#include "server/utf8.h"

namespace cairn {
namespace {

constexpr size_t kMessageMax = 1024;
constexpr size_t kDescriptionMax = 256;
constexpr size_t kMetadataMax = 1024;  // keys and values together
constexpr size_t kValueMax = 256;

// Where the server keeps its files is nobody's business: "/a/b: bad" becomes "<path>: bad".
std::string WithoutPaths(std::string_view text) {
  constexpr std::string_view kBefore = " \t\"'=(,<";
  constexpr std::string_view kAfter = " \t\"':,)>;";
  std::string result;
  for (size_t at = 0; at < text.size();) {
    bool begins = text[at] == '/' && (at == 0 || kBefore.find(text[at - 1]) != kBefore.npos);
    if (!begins) {
      result += text[at++];
      continue;
    }
    result += "<path>";
    at = std::min(text.find_first_of(kAfter, at), text.size());
  }
  return result;
}

std::optional<int> RetryDelaySeconds(const absl::Status& status,
                                     const std::optional<ErrorDetails>& details) {
  if (status.code() == absl::StatusCode::kUnavailable) return 1;
  if (!details.has_value()) return std::nullopt;
  switch (details->reason) {
    case Reason::kTooManyCalls:
    case Reason::kQueueFull:
    case Reason::kInterrupted:
      return 1;
    case Reason::kWatchTooSlow:
      return 0;
    default:
      // Space does not come back by waiting, nor does a lost revision.
      return std::nullopt;
  }
}

void Pack(const google::protobuf::Message& detail, google::rpc::Status* rpc) {
  rpc->add_details()->PackFrom(detail);
}

void AddErrorInfo(const absl::Status& status, const std::optional<ErrorDetails>& details,
                  google::rpc::Status* rpc) {
  google::rpc::ErrorInfo info;
  info.set_reason(ReasonText(status));
  info.set_domain(std::string(kErrorDomain));
  if (details.has_value()) {
    bool internal = status.code() == absl::StatusCode::kInternal;
    size_t left = kMetadataMax;
    for (const auto& [key, value] : details->metadata) {
      std::string sent = PrintableUtf8(internal ? WithoutPaths(value) : value, kValueMax);
      if (key.size() + sent.size() > left) continue;
      left -= key.size() + sent.size();
      (*info.mutable_metadata())[key] = std::move(sent);
    }
  }
  Pack(info, rpc);
}

void AddBadRequest(const ErrorDetails& details, google::rpc::Status* rpc) {
  auto field = details.metadata.find("field");
  if (ReasonCode(details.reason) != absl::StatusCode::kInvalidArgument ||
      field == details.metadata.end()) {
    return;
  }
  google::rpc::BadRequest bad;
  auto* violation = bad.add_field_violations();
  violation->set_field(PrintableUtf8(field->second, kDescriptionMax));
  violation->set_description(PrintableUtf8(rpc->message(), kDescriptionMax));
  Pack(bad, rpc);
}

}  // namespace

std::string ReasonText(const absl::Status& status) {
  if (status.ok()) return "";
  if (auto details = GetErrorDetails(status)) return std::string(ReasonName(details->reason));
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      return std::string(ReasonName(Reason::kCancelled));
    case absl::StatusCode::kDeadlineExceeded:
      return std::string(ReasonName(Reason::kDeadline));
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      return std::string(ReasonName(Reason::kInternal));
    default:
      return absl::StatusCodeToString(status.code());
  }
}

google::rpc::Status ToRpcStatus(const absl::Status& status) {
  google::rpc::Status rpc;
  if (status.ok()) return rpc;
  rpc.set_code(static_cast<int>(status.code()));
  std::string_view message = ToStd(status.message());
  bool internal = status.code() == absl::StatusCode::kInternal;
  rpc.set_message(
      PrintableUtf8(internal ? WithoutPaths(message) : std::string(message), kMessageMax));
  auto details = GetErrorDetails(status);
  AddErrorInfo(status, details, &rpc);
  if (details.has_value()) AddBadRequest(*details, &rpc);
  if (auto seconds = RetryDelaySeconds(status, details)) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(*seconds);
    Pack(retry, &rpc);
  }
  return rpc;
}

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  google::rpc::Status rpc = ToRpcStatus(status);
  // gRPC's codes are absl's.
  return {static_cast<grpc::StatusCode>(rpc.code()), rpc.message(), rpc.SerializeAsString()};
}

}  // namespace cairn
