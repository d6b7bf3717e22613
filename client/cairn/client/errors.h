// Errors, as the server sends them.
//
// Every fallible method returns absl::Status or absl::StatusOr with the canonical code that the
// server gave. What else it said travels with the status and is read here: the reason, for programs
// (listed in cairn/v1/error.proto), and the names and values that the error is about.
//
//   auto volume = client.GetVolume(id);
//   if (GetReason(volume.status()) == "VOLUME_NOT_FOUND") ...
//
// Errors that arise in the client itself (a file that cannot be opened, a deadline) have no reason.
// Threads: functions over values; safe from any thread.
#ifndef CAIRN_CLIENT_ERRORS_H_
#define CAIRN_CLIENT_ERRORS_H_

#include <chrono>
#include <map>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "google/rpc/status.pb.h"

namespace grpc {
class Status;
}

namespace cairn::client {

struct ErrorDetails {
  // Such as "VOLUME_IN_USE". New reasons may be added: treat an unknown one by the status's code.
  std::string reason;
  // Who defines the reason: "cairn".
  std::string domain;
  // What the error is about, such as {"volume": "<id>", "instance": "vm-7"}.
  std::map<std::string, std::string> metadata;
  // How long to wait before another try makes sense, if the server said so.
  std::optional<std::chrono::milliseconds> retry_delay;
};

// What the server attached to the error; nothing if it attached nothing.
std::optional<ErrorDetails> GetErrorDetails(const absl::Status& status);

// The reason alone; "" if there is none.
std::string GetReason(const absl::Status& status);

// A google.rpc.Status, such as Operation.error, as a status with its details.
absl::Status StatusFromProto(const google::rpc::Status& proto);

// A gRPC status with the details of its trailer.
absl::Status StatusFromGrpc(const grpc::Status& status);

// The same error with "context: " before its message; details are kept. OK stays OK.
absl::Status Annotate(const absl::Status& status, const std::string& context);

}  // namespace cairn::client

#endif  // CAIRN_CLIENT_ERRORS_H_
