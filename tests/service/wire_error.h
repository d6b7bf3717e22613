// What a client can read from a failed call.
#ifndef CAIRN_TESTS_SERVICE_WIRE_ERROR_H_
#define CAIRN_TESTS_SERVICE_WIRE_ERROR_H_

#include <gmock/gmock.h>
#include <grpcpp/support/status.h>

#include <map>
#include <optional>
#include <ostream>
#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace cairn::testing {

struct WireError {
  int code = 0;
  std::string message;
  std::string reason;
  std::string domain;
  std::map<std::string, std::string> metadata;
  std::string field;  // of BadRequest
  std::string field_description;
  std::optional<int> retry_seconds;

  static WireError Of(const google::rpc::Status& rpc) {
    WireError error;
    error.code = rpc.code();
    error.message = rpc.message();
    for (const auto& detail : rpc.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::BadRequest bad;
      google::rpc::RetryInfo retry;
      if (detail.UnpackTo(&info)) {
        error.reason = info.reason();
        error.domain = info.domain();
        error.metadata = {info.metadata().begin(), info.metadata().end()};
      } else if (detail.UnpackTo(&bad) && bad.field_violations_size() > 0) {
        error.field = bad.field_violations(0).field();
        error.field_description = bad.field_violations(0).description();
      } else if (detail.UnpackTo(&retry)) {
        error.retry_seconds = static_cast<int>(retry.retry_delay().seconds());
      }
    }
    return error;
  }
  static WireError Of(const grpc::Status& status) {
    google::rpc::Status rpc;
    if (!rpc.ParseFromString(status.error_details()) || rpc.code() == 0) {
      rpc.set_code(status.error_code());
      rpc.set_message(status.error_message());
    }
    return Of(rpc);
  }
};

inline void PrintTo(const WireError& error, std::ostream* out) {
  *out << error.code << " " << error.reason << " field=" << error.field << " " << error.message;
}

// A call's status, or an operation's error, with this reason.
MATCHER_P(FailsWith, reason, "") {
  WireError error = WireError::Of(arg);
  if (result_listener->stream() != nullptr) PrintTo(error, result_listener->stream());
  return error.reason == reason;
}
MATCHER_P(FailsOnField, field, "") {
  WireError error = WireError::Of(arg);
  if (result_listener->stream() != nullptr) PrintTo(error, result_listener->stream());
  return error.code == grpc::StatusCode::INVALID_ARGUMENT && error.reason == "INVALID_FIELD" &&
         error.field == field && error.metadata["field"] == field;
}
MATCHER(Succeeds, "") {
  *result_listener << arg.error_code() << " " << arg.error_message();
  return arg.ok();
}

}  // namespace cairn::testing

namespace grpc {
// For messages of failed expectations.
inline void PrintTo(const Status& status, std::ostream* out) {
  PrintTo(cairn::testing::WireError::Of(status), out);
}
}  // namespace grpc

#endif  // CAIRN_TESTS_SERVICE_WIRE_ERROR_H_
