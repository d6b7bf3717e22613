#include "tests/service/test_server.h"

#include <grpcpp/create_channel.h>

#include <filesystem>

#include "tests/service/wire_error.h"
#include "tests/support/matchers.h"

namespace cairn::testing {

ServerConfig TestServer::ConfigIn(const TempDir& dir) {
  ServerConfig config;
  config.listen = {"127.0.0.1:0"};
  config.state_path = dir.File("state");
  config.shutdown_grace_seconds = 5;
  config.probe_period_seconds = 1;
  PoolOptions pool;
  pool.nfs_shares_config = dir.File("shares");
  pool.nfs_mount_point_base = dir.File("mnt");
  pool.image_directories = {dir.File("images")};
  for (const char* folder : {"a", "b", "images"}) {
    std::filesystem::create_directory(dir.File(folder));
  }
  WriteFile(dir.File("shares"), "file://" + dir.File("a") + "\nfile://" + dir.File("b") + "\n");
  config.pools = {pool};
  return config;
}

TestServer::TestServer(const ServerConfig& config, EngineFactory make_engine) {
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Listen(config, std::move(make_engine));
  listen_status_ = server.status();
  if (!server.ok()) return;
  server_ = *std::move(server);
  channel_ = NewChannel();
}

std::shared_ptr<grpc::Channel> TestServer::NewChannel(int receive_max) const {
  grpc::ChannelArguments arguments;
  // A connection of its own, not one shared with other channels.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  if (receive_max > 0) arguments.SetMaxReceiveMessageSize(receive_max);
  return grpc::CreateCustomChannel(server_->addresses().at(0), grpc::InsecureChannelCredentials(),
                                   arguments);
}

void ServiceTest::SetUp() { Restart(); }

void ServiceTest::Restart() {
  if (server_ != nullptr) server_->Stop();
  ServerConfig config = TestServer::ConfigIn(dir_);
  Configure(&config);
  server_ = std::make_unique<TestServer>(config);
  ASSERT_OK(server_->listen_status());
  ASSERT_OK(server_->server().AwaitStart());
  volumes_ = v1::VolumeService::NewStub(server_->channel());
  snapshots_ = v1::SnapshotService::NewStub(server_->channel());
  pools_ = v1::PoolService::NewStub(server_->channel());
  operations_ = v1::OperationService::NewStub(server_->channel());
  // The shares' first probes run in the background.
  absl::Time limit = absl::Now() + absl::Seconds(10);
  v1::GetPoolResponse pool;
  while (absl::Now() < limit) {
    ASSERT_THAT(CALL(pools_, GetPool, v1::GetPoolRequest(), &pool), Succeeds());
    int online = 0;
    for (const v1::Share& share : pool.pool().shares()) {
      online += share.state() == v1::SHARE_STATE_ONLINE;
    }
    if (online == pool.pool().shares_size() && online > 0) return;
    absl::SleepFor(absl::Milliseconds(5));
  }
  FAIL() << "shares not online: " << pool.DebugString();
}

void ServiceTest::TearDown() {
  if (server_ != nullptr) server_->Stop();
}

v1::Operation ServiceTest::Succeeded(const grpc::Status& status, const v1::Operation& operation) {
  EXPECT_THAT(status, Succeeds());
  if (!status.ok()) return operation;
  v1::WaitOperationRequest wait;
  wait.set_operation_id(operation.id());
  v1::WaitOperationResponse ended;
  EXPECT_THAT(CALL(operations_, WaitOperation, wait, &ended), Succeeds());
  EXPECT_EQ(ended.operation().state(), v1::OPERATION_STATE_SUCCEEDED)
      << ended.operation().DebugString();
  return ended.operation();
}

v1::Volume ServiceTest::CreateVolume(const v1::CreateVolumeRequest& request) {
  v1::CreateVolumeResponse response;
  grpc::Status status = CALL(volumes_, CreateVolume, request, &response);
  return Succeeded(status, response.operation()).volume();
}

v1::Volume ServiceTest::CreateVolume(int64_t size_bytes, const std::string& name) {
  v1::CreateVolumeRequest request;
  request.set_name(name);
  request.set_size_bytes(size_bytes);
  return CreateVolume(request);
}

v1::Snapshot ServiceTest::CreateSnapshot(const std::string& volume_id) {
  v1::CreateSnapshotRequest request;
  request.set_volume_id(volume_id);
  v1::CreateSnapshotResponse response;
  grpc::Status status = CALL(snapshots_, CreateSnapshot, request, &response);
  return Succeeded(status, response.operation()).snapshot();
}

v1::Volume ServiceTest::GetVolume(const std::string& id, v1::VolumeView view) {
  v1::GetVolumeRequest request;
  request.set_volume_id(id);
  request.set_view(view);
  v1::GetVolumeResponse response;
  EXPECT_THAT(CALL(volumes_, GetVolume, request, &response), Succeeds());
  return response.volume();
}

}  // namespace cairn::testing
