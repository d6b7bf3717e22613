#include "cairn/client/internal/connection.h"

#include <grpcpp/create_channel.h>

#include <utility>

namespace cairn::client::internal {
namespace {

// A page of 1,000 volumes with many labels is larger than gRPC's default of 4 MiB.
constexpr int kMaxReceiveBytes = 64 << 20;
// gRPC waits up to two minutes between connection attempts by default; a server that restarts is
// back in seconds.
constexpr int kFirstReconnectMs = 100;
constexpr int kMaxReconnectMs = 2'000;

grpc::ChannelArguments ChannelArguments(const Options& options) {
  // Of arguments that are given twice gRPC takes the first, so the caller's stand first.
  grpc::ChannelArguments arguments = options.channel_arguments;
  arguments.SetMaxReceiveMessageSize(kMaxReceiveBytes);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kFirstReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kMaxReconnectMs);
  // The retries are this library's: gRPC's own would repeat below the counting of tries.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  if (options.keepalive.count() > 0) {
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(options.keepalive.count()));
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
    arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  }
  if (!options.user_agent.empty()) arguments.SetUserAgentPrefix(options.user_agent);
  return arguments;
}

}  // namespace

ConnectionPtr WrapChannel(std::shared_ptr<grpc::Channel> channel, Options options) {
  auto connection = std::make_shared<Connection>();
  connection->volumes = v1::VolumeService::NewStub(channel);
  connection->snapshots = v1::SnapshotService::NewStub(channel);
  connection->pools = v1::PoolService::NewStub(channel);
  connection->operations = v1::OperationService::NewStub(channel);
  connection->channel = std::move(channel);
  connection->options = std::move(options);
  return connection;
}

absl::StatusOr<ConnectionPtr> OpenConnection(Options options) {
  if (options.target.empty()) return absl::InvalidArgumentError("target: no server is named");
  if (options.timeout.count() <= 0) return absl::InvalidArgumentError("timeout: must be positive");
  if (options.retry.max_attempts < 1)
    return absl::InvalidArgumentError("retry.max_attempts: must be at least 1");
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (options.credentials) {
    auto made = options.credentials();
    if (!made.ok()) return made.status();
    credentials = *std::move(made);
  }
  auto channel = grpc::CreateCustomChannel(options.target, credentials, ChannelArguments(options));
  return WrapChannel(std::move(channel), std::move(options));
}

}  // namespace cairn::client::internal
