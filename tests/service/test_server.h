// A server in this process on a directory pool, and clients of it over a real socket.
#ifndef CAIRN_TESTS_SERVICE_TEST_SERVER_H_
#define CAIRN_TESTS_SERVICE_TEST_SERVER_H_

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "cairn/v1/operation_service.grpc.pb.h"
#include "cairn/v1/pool_service.grpc.pb.h"
#include "cairn/v1/snapshot_service.grpc.pb.h"
#include "cairn/v1/volume_service.grpc.pb.h"
#include "server/server.h"
#include "tests/support/temp_dir.h"

namespace cairn::testing {

class TestServer {
 public:
  // A configuration with one pool "default" with two shares, a and b, in `dir`.
  static ServerConfig ConfigIn(const TempDir& dir);
  // `make_engine`: the real one, or a test's own.
  explicit TestServer(const ServerConfig& config, EngineFactory make_engine = Engine::Start);

  const absl::Status& listen_status() const { return listen_status_; }
  Server& server() { return *server_; }
  // Stops and destroys it.
  void Stop() { server_.reset(); }

  std::shared_ptr<grpc::Channel> NewChannel(int receive_max = -1) const;
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }

 private:
  absl::Status listen_status_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
};

inline constexpr int64_t kMiBytes = int64_t{1} << 20;

// A server with the real engine, and what most tests do with it.
class ServiceTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  // With other settings than ConfigIn's.
  virtual void Configure(ServerConfig*) {}
  // Ends the server and starts another one on the same state.
  void Restart();

  // Each expects the operation to succeed.
  v1::Volume CreateVolume(const v1::CreateVolumeRequest& request);
  v1::Volume CreateVolume(int64_t size_bytes = kMiBytes, const std::string& name = "v");
  v1::Snapshot CreateSnapshot(const std::string& volume_id);
  v1::Volume GetVolume(const std::string& id, v1::VolumeView view = v1::VOLUME_VIEW_BASIC);
  // Expects success, and waits for the end if the answer came before it.
  v1::Operation Succeeded(const grpc::Status& status, const v1::Operation& operation);

  TempDir dir_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<v1::VolumeService::Stub> volumes_;
  std::unique_ptr<v1::SnapshotService::Stub> snapshots_;
  std::unique_ptr<v1::PoolService::Stub> pools_;
  std::unique_ptr<v1::OperationService::Stub> operations_;
};

}  // namespace cairn::testing

// CALL(volumes_, GetVolume, request, &response): the status of one call.
#define CALL(stub, method, request, response)                                          \
  [&] {                                                                                \
    grpc::ClientContext context;                                                       \
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30)); \
    return (stub)->method(&context, request, response);                                \
  }()

#endif  // CAIRN_TESTS_SERVICE_TEST_SERVER_H_
