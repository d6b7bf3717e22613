// How a client connects, and how its calls behave. Plain values; name the fields that differ from
// their defaults: {.target = "cairn:7411", .timeout = std::chrono::seconds(5)}.
#ifndef CAIRN_CLIENT_OPTIONS_H_
#define CAIRN_CLIENT_OPTIONS_H_

#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "absl/status/statusor.h"
#include "cairn/client/retry.h"
#include "google/protobuf/duration.pb.h"

namespace cairn::client {

using CredentialsFactory =
    std::function<absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>>()>;

struct Options {
  // Where the server listens, as gRPC writes it: "unix:/run/cairn/cairn.sock", "host:port",
  // "dns:///cairn.example.org:7411". Required.
  std::string target{};
  // Credentials for the channel, made once when it is opened. Unset: plain text.
  CredentialsFactory credentials{};
  // How long a call may take, with all its tries, unless CallOptions say otherwise. A request that
  // lets the server hold its reply (`wait`) gets that much more. Streams have no limit of their
  // own.
  std::chrono::milliseconds timeout{30'000};
  RetryPolicy retry{};
  // Ping a connection that has been silent for this long, so that a dead one is noticed. Zero:
  // never. The server must allow it, as cairnd does down to 10 s: one that is pinged more often
  // than it allows closes the connection.
  std::chrono::milliseconds keepalive{30'000};
  // Further channel arguments; they win over what this library sets by itself.
  grpc::ChannelArguments channel_arguments{};
  // Named in the user agent before gRPC's own, such as "csi-driver/1.2".
  std::string user_agent{};
};

// For one call. Unset fields: as the client's Options say.
struct CallOptions {
  std::optional<std::chrono::milliseconds> timeout{};
  std::optional<RetryPolicy> retry{};
  // Gives the call up: it ends with CANCELLED. What the server has recorded already goes on.
  std::stop_token stop{};
};

// For `wait` and similar fields of requests.
inline google::protobuf::Duration ToProtoDuration(std::chrono::milliseconds duration) {
  google::protobuf::Duration proto;
  proto.set_seconds(duration.count() / 1000);
  proto.set_nanos(static_cast<int32_t>(duration.count() % 1000) * 1'000'000);
  return proto;
}

}  // namespace cairn::client

#endif  // CAIRN_CLIENT_OPTIONS_H_
