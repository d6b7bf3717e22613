// The channel, its stubs, and the options that all calls share. Immutable after it is made, so any
// thread may use it; gRPC's stubs are thread-safe.
#ifndef CAIRN_CLIENT_INTERNAL_CONNECTION_H_
#define CAIRN_CLIENT_INTERNAL_CONNECTION_H_

#include <grpcpp/channel.h>

#include <memory>

#include "absl/status/statusor.h"
#include "cairn/client/options.h"
#include "cairn/v1/operation_service.grpc.pb.h"
#include "cairn/v1/pool_service.grpc.pb.h"
#include "cairn/v1/snapshot_service.grpc.pb.h"
#include "cairn/v1/volume_service.grpc.pb.h"

namespace cairn::client::internal {

struct Connection {
  Options options;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<v1::VolumeService::StubInterface> volumes;
  std::unique_ptr<v1::SnapshotService::StubInterface> snapshots;
  std::unique_ptr<v1::PoolService::StubInterface> pools;
  std::unique_ptr<v1::OperationService::StubInterface> operations;
};

using ConnectionPtr = std::shared_ptr<const Connection>;

// INVALID_ARGUMENT for options that cannot be right; what the credentials factory says. Does not
// wait for the connection.
absl::StatusOr<ConnectionPtr> OpenConnection(Options options);

// The same over a channel that exists already.
ConnectionPtr WrapChannel(std::shared_ptr<grpc::Channel> channel, Options options);

}  // namespace cairn::client::internal

#endif  // CAIRN_CLIENT_INTERNAL_CONNECTION_H_
