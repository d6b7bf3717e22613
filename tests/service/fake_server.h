// A server whose engine is a FakeEngine, and clients of it.
#ifndef CAIRN_TESTS_SERVICE_FAKE_SERVER_H_
#define CAIRN_TESTS_SERVICE_FAKE_SERVER_H_

#include <memory>
#include <string>

#include "lib/base/id.h"
#include "tests/service/fake_engine.h"
#include "tests/service/test_server.h"
#include "tests/support/matchers.h"

namespace cairn::testing {

class FakeServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    config_ = TestServer::ConfigIn(dir_);
    config_.shutdown_grace_seconds = 1;
    SqliteCatalogOptions options{dir_.File("catalog.db"), /*changes_kept=*/20};
    auto catalog = OpenSqliteCatalog(options);
    ASSERT_OK(catalog);
    owned_ = std::make_unique<FakeEngine>(*std::move(catalog));
    engine_ = owned_.get();
  }
  void TearDown() override { server_.reset(); }

  void Start() {
    server_ = std::make_unique<TestServer>(
        config_, [this](const EngineOptions&) -> absl::StatusOr<std::unique_ptr<Engine>> {
          return std::move(owned_);
        });
    ASSERT_OK(server_->listen_status());
    ASSERT_OK(server_->server().AwaitStart());
    volumes_ = v1::VolumeService::NewStub(server_->channel());
    operations_ = v1::OperationService::NewStub(server_->channel());
  }

  static OperationPtr RunningOperation() {
    auto operation = std::make_shared<OperationRecord>();
    operation->id = NewId();
    operation->volume_id = NewId();
    operation->state = OperationState::kRunning;
    operation->create_time = absl::Now();
    return operation;
  }

  // A change of a volume that nothing answers, until its deadline.
  grpc::Status Extend(absl::Duration timeout, absl::Duration wait = absl::Seconds(2),
                      v1::ExtendVolumeResponse* response = nullptr) {
    v1::ExtendVolumeRequest request;
    request.set_volume_id(NewId());
    request.set_size_bytes(kMiBytes);
    request.mutable_wait()->set_seconds(absl::ToInt64Seconds(wait));
    v1::ExtendVolumeResponse unused;
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    return volumes_->ExtendVolume(&context, request, response ? response : &unused);
  }

  TempDir dir_;
  ServerConfig config_;
  std::unique_ptr<FakeEngine> owned_;  // until the server has it
  FakeEngine* engine_ = nullptr;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<v1::VolumeService::Stub> volumes_;
  std::unique_ptr<v1::OperationService::Stub> operations_;
};

}  // namespace cairn::testing

#endif  // CAIRN_TESTS_SERVICE_FAKE_SERVER_H_
